//! Learning weights from choices.

use tureen_soup::learn::{Learning, Taste};

/// Uniform in [0, 1): a well-known generator (SplitMix64).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Every point of the simplex alike.
    fn simplex(&mut self, n: usize) -> Vec<f64> {
        let parts: Vec<f64> = (0..n).map(|_| -(1.0 - self.uniform()).ln()).collect();
        let sum: f64 = parts.iter().sum();
        parts.iter().map(|part| part / sum).collect()
    }
}

const LEARNING: Learning = Learning { sharpness: 0.5, prior: 0.4, memory: 1.0 };

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("p{i}")).collect()
}

fn fresh(n: usize) -> Taste {
    Taste::new(names(n), vec![1.0 / n as f64; n], &LEARNING)
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn l1(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The logarithm of the posterior after one choice, up to a constant. On the plane Σ w = 1 the prior's precision is that
/// of every direction alike.
fn log_posterior(w: &[f64], mean: &[f64], gains: &[f64], preferred: f64) -> f64 {
    let away: f64 = w.iter().zip(mean).map(|(w, m)| (w - m).powi(2)).sum();
    let p = sigmoid(LEARNING.sharpness * dot(w, gains));
    preferred * p.ln() + (1.0 - preferred) * (1.0 - p).ln() - away / (2.0 * LEARNING.prior * LEARNING.prior)
}

fn numbers(taste: &Taste, key: &str) -> Vec<f64> {
    serde_json::from_value(serde_json::to_value(taste).unwrap()[key].clone()).unwrap()
}

/// `vᵀ S⁺ v` for a direction of the plane of three weights: two coordinates tell everything there, and their 2 x 2
/// covariance has an inverse.
fn quadratic(taste: &Taste, v: &[f64; 3]) -> f64 {
    let covariance = numbers(taste, "covariance");
    let (a, b, c) = (covariance[0], covariance[1], covariance[4]);
    (c * v[0] * v[0] - 2.0 * b * v[0] * v[1] + a * v[1] * v[1]) / (a * c - b * b)
}

#[test]
fn one_choice_moves_to_the_highest_point_of_the_posterior() {
    let gains = [2.0, -1.5, 0.25];
    for preferred in [1.0, 0.0, 0.7] {
        let mut taste = fresh(3);
        taste.learn(&gains, preferred, &LEARNING);
        let (mut best, mut top) = (vec![], f64::MIN);
        let steps = 1000;
        for i in 0..=steps {
            for j in 0..=steps - i {
                let w = [i as f64 / steps as f64, j as f64 / steps as f64, (steps - i - j) as f64 / steps as f64];
                let height = log_posterior(&w, &[1.0 / 3.0; 3], &gains, preferred);
                if height > top {
                    (best, top) = (w.to_vec(), height);
                }
            }
        }
        let got = taste.weights();
        assert!(l1(&got, &best) < 3.0 / steps as f64, "{got:?} is not {best:?}");
        // How sure it is: the curvature there, by differences along a direction of the plane.
        let (h, direction) = (1e-4, [1.0, -1.0, 0.0]);
        let at = |t: f64| -> Vec<f64> { got.iter().zip(&direction).map(|(w, d)| w + t * d).collect() };
        let height = |t: f64| log_posterior(&at(t), &[1.0 / 3.0; 3], &gains, preferred);
        let curvature = (2.0 * height(0.0) - height(h) - height(-h)) / (h * h);
        let known = quadratic(&taste, &direction);
        assert!((curvature - known).abs() < 1e-2 * curvature, "{known} is not {curvature}");
        let surer = taste.deviations();
        assert!(surer.iter().zip(fresh(3).deviations()).all(|(after, before)| *after <= before));
        assert_eq!(taste.choices(), 1);
    }
}

#[test]
fn weights_stay_on_the_simplex_and_are_the_likeliest_there() {
    let mut random = Random(3);
    for _ in 0..20 {
        let mut taste = fresh(3);
        for _ in 0..6 {
            let gains: Vec<f64> = (0..3).map(|_| 9.0 * random.normal()).collect();
            // Always for the first policy: its mean leaves the simplex.
            taste.learn(&gains, f64::from(u8::from(gains[0] > gains[1].max(gains[2]))), &LEARNING);
        }
        let weights = taste.weights();
        assert!(weights.iter().all(|w| *w >= 0.0) && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
        // Likeliest: no neighbour on the simplex explains more. The distribution is read off how probable it finds choices.
        let mean = numbers(&taste, "mean");
        let far = |w: &[f64]| quadratic(&taste, &[w[0] - mean[0], w[1] - mean[1], w[2] - mean[2]]);
        let best = far(&weights);
        for i in 0..=200 {
            for j in 0..=200 - i {
                let w = [f64::from(i) / 200.0, f64::from(j) / 200.0, f64::from(200 - i - j) / 200.0];
                assert!(far(&w) >= best - 1e-3 * best.max(1e-3), "{w:?} is likelier than {weights:?}");
            }
        }
    }
}

/// Mean L1 error to the true weights of 200 people, after each number of choices. Each choice is between two of 64 answers
/// that would teach most.
fn errors(policies: usize, choices: &[usize]) -> Vec<f64> {
    let mut random = Random(5);
    let mut sums = vec![0.0; choices.len()];
    for _ in 0..200 {
        let truth = random.simplex(policies);
        let mut taste = fresh(policies);
        for count in 0..=choices[choices.len() - 1] {
            if let Some(at) = choices.iter().position(|c| *c == count) {
                sums[at] += l1(&taste.weights(), &truth) / 200.0;
            }
            let question = |random: &mut Random| -> Vec<f64> {
                (0..policies).map(|_| 8.0 * (random.normal() - random.normal())).collect()
            };
            let teaches = |gains: &[f64]| taste.information(gains, &LEARNING);
            let questions: Vec<_> = (0..64).map(|_| question(&mut random)).collect();
            let best = questions.iter().max_by(|a, b| teaches(a).total_cmp(&teaches(b))).unwrap();
            let chosen = random.uniform() < sigmoid(LEARNING.sharpness * dot(&truth, best));
            taste.learn(best, f64::from(u8::from(chosen)), &LEARNING);
        }
    }
    sums
}

#[test]
fn ten_choices_halve_the_error() {
    for policies in [2, 3, 4] {
        let [none, ten, thirty] = errors(policies, &[0, 10, 30])[..] else { unreachable!() };
        assert!(ten <= none / 2.0 && thirty < ten, "{policies} policies: {none:.3}, {ten:.3}, {thirty:.3}");
    }
}

#[test]
fn what_would_teach_nothing_is_worth_nothing() {
    let mut taste = fresh(3);
    assert!(taste.information(&[4.0; 3], &LEARNING) < 1e-12, "all policies gain alike");
    assert!((taste.probability(&[4.0, -2.0, -2.0], &LEARNING) - 0.5).abs() < 1e-12);
    let question = [6.0, -6.0, 0.0];
    let before = taste.information(&question, &LEARNING);
    (0..20).for_each(|_| taste.learn(&question, 1.0, &LEARNING));
    assert!(taste.information(&question, &LEARNING) < before / 4.0, "what is known is not worth asking");
    assert!(taste.probability(&question, &LEARNING) > 0.9);
    assert!(taste.weights()[0] > taste.weights()[2] && taste.weights()[2] > taste.weights()[1]);
}

#[test]
fn what_is_forgotten_can_change() {
    let question = [6.0, -6.0];
    let after = |memory: f64| {
        let learning = Learning { memory, ..LEARNING };
        let mut taste = fresh(2);
        (0..60).for_each(|_| taste.learn(&question, 1.0, &learning));
        (0..20).for_each(|_| taste.learn(&question, 0.0, &learning));
        taste.weights()[0]
    };
    assert!(after(0.9) < 0.3 && after(1.0) > 0.5, "{} {}", after(0.9), after(1.0));
    // However long nothing is learned, nobody is less sure than at first.
    let learning = Learning { memory: 0.5, ..LEARNING };
    let mut taste = fresh(2);
    (0..50).for_each(|_| taste.learn(&[0.0, 0.0], 1.0, &learning));
    assert!(taste.deviations().iter().zip(fresh(2).deviations()).all(|(now, first)| *now <= first * (1.0 + 1e-9)));
}

#[test]
fn another_pool_keeps_what_it_can() {
    let mut taste = fresh(3);
    (0..10).for_each(|_| taste.learn(&[8.0, -8.0, 0.0], 1.0, &LEARNING));
    let same = taste.over(names(3), &LEARNING);
    assert_eq!(same, taste);
    let mut renamed = names(3);
    renamed[2] = "new".into();
    renamed.push("newer".into());
    let other = taste.over(renamed.clone(), &LEARNING);
    assert_eq!((other.policies(), other.choices()), (&renamed[..], 10));
    let weights = other.weights();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(weights[0] > weights[1]);
    let (before, after) = (taste.deviations(), other.deviations());
    assert!(after[2] > 1.2 * before[0] && after[3] > 1.2 * before[0], "{before:?} {after:?}");
}
