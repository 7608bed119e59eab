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
    Taste::new(names(n), &vec![1.0 / n as f64; n], &LEARNING)
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

/// Mean and covariance of a density on the simplex of three weights, by the rule of rectangles. The density is given by its
/// logarithm, up to a constant.
fn integrated(log_density: impl Fn(&[f64]) -> f64) -> (Vec<f64>, Vec<f64>) {
    let steps = 200;
    let point = |i: u32, j: u32| {
        let (x, y) = ((f64::from(i) + 1.0 / 3.0) / f64::from(steps), (f64::from(j) + 1.0 / 3.0) / f64::from(steps));
        [x, y, 1.0 - x - y]
    };
    let points: Vec<[f64; 3]> = (0..steps).flat_map(|i| (0..steps - i).map(move |j| point(i, j))).collect();
    let heights: Vec<f64> = points.iter().map(|w| log_density(w)).collect();
    let top = heights.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = heights.iter().map(|height| (height - top).exp()).collect();
    let all: f64 = weights.iter().sum();
    let expect = |f: &dyn Fn(&[f64; 3]) -> f64| {
        points.iter().zip(&weights).map(|(point, weight)| weight * f(point)).sum::<f64>() / all
    };
    let mean: Vec<f64> = (0..3).map(|i| expect(&|w| w[i])).collect();
    let covariance = (0..9).map(|i| expect(&|w| (w[i / 3] - mean[i / 3]) * (w[i % 3] - mean[i % 3]))).collect();
    (mean, covariance)
}

/// ln σ(z)
fn log_sigmoid(z: f64) -> f64 {
    z.min(0.0) - (-z.abs()).exp().ln_1p()
}

/// Nobody knows anything; on the plane Σ w = 1 the prior's precision is that of every direction alike.
fn log_prior(w: &[f64]) -> f64 {
    w.iter().map(|w| (w - 1.0 / 3.0).powi(2)).sum::<f64>() / (-2.0 * LEARNING.prior * LEARNING.prior)
}

#[test]
fn what_choices_tell_is_the_posterior_of_an_integral() {
    let mut random = Random(3);
    for preferred in [1.0, 0.0, 0.7] {
        for size in [0.3, 4.0, 12.0] {
            let (mut taste, mut lessons) = (fresh(3), vec![]);
            for count in 1..=6 {
                let gains: Vec<f64> = (0..3).map(|_| size * random.normal()).collect();
                taste.learn(&gains, preferred, &LEARNING);
                lessons.push(gains);
                let (mean, covariance) = integrated(|w| {
                    let value = |gains: &Vec<f64>| LEARNING.sharpness * dot(w, gains);
                    let told = |z: f64| preferred * log_sigmoid(z) + (1.0 - preferred) * log_sigmoid(-z);
                    log_prior(w) + lessons.iter().map(|gains| told(value(gains))).sum::<f64>()
                });
                let belief = taste.belief();
                let apart = l1(belief.weights(), &mean);
                let most = if count == 1 { 0.03 } else { 0.1 };
                assert!(apart < most, "{preferred} {size} {count}: {:?} is not {mean:?}", belief.weights());
                for (i, deviation) in belief.deviations().into_iter().enumerate() {
                    let known = covariance[4 * i].sqrt();
                    assert!((deviation - known).abs() < 0.5 * known, "{size} {count}: {deviation} is not {known}");
                }
            }
        }
    }
}

/// Mean L1 error to the true weights of 200 people, after each number of choices. Each choice is between the two of 12
/// answers that would teach most, whose gains have a deviation of 8 nats.
fn errors(policies: usize, choices: &[usize]) -> Vec<f64> {
    let mut random = Random(5);
    let mut sums = vec![0.0; choices.len()];
    for _ in 0..200 {
        let truth = random.simplex(policies);
        let mut taste = fresh(policies);
        for count in 0..=choices[choices.len() - 1] {
            let belief = taste.belief();
            if let Some(at) = choices.iter().position(|c| *c == count) {
                sums[at] += l1(belief.weights(), &truth) / 200.0;
            }
            let mut answer = || -> Vec<f64> { (0..policies).map(|_| 8.0 * random.normal()).collect() };
            let answers: Vec<_> = (0..12).map(|_| answer()).collect();
            let told = belief.most_telling(&answers, &LEARNING).unwrap();
            let gains: Vec<f64> =
                answers[told.first].iter().zip(&answers[told.second]).map(|(first, second)| first - second).collect();
            let chosen = random.uniform() < sigmoid(LEARNING.sharpness * dot(&truth, &gains));
            taste.learn(&gains, f64::from(u8::from(chosen)), &LEARNING);
        }
    }
    sums
}

#[test]
fn ten_choices_halve_the_error() {
    for policies in [2, 3, 4, 5] {
        let [none, ten, thirty] = errors(policies, &[0, 10, 30])[..] else { unreachable!() };
        assert!(ten <= none / 2.0 && thirty < ten, "{policies} policies: {none:.3}, {ten:.3}, {thirty:.3}");
    }
}

#[test]
fn the_most_telling_pair_is_the_best_of_all() {
    let mut random = Random(7);
    for policies in [2, 5, 8] {
        let mut taste = fresh(policies);
        let answers: Vec<Vec<f64>> = (0..9).map(|_| (0..policies).map(|_| 12.0 * random.normal()).collect()).collect();
        taste.learn(&answers[0], 1.0, &LEARNING);
        let belief = taste.belief();
        let teaches = |first: &[f64], second: &[f64]| {
            let gains: Vec<f64> = first.iter().zip(second).map(|(first, second)| first - second).collect();
            belief.information(&gains, &LEARNING)
        };
        let all = answers.iter().flat_map(|first| answers.iter().map(|second| teaches(first, second)));
        let told = belief.most_telling(&answers, &LEARNING).unwrap();
        assert!((told.teaches - all.fold(0.0, f64::max)).abs() < 1e-9);
        assert!((told.teaches - teaches(&answers[told.first], &answers[told.second])).abs() < 1e-9);
        assert_eq!(belief.most_telling(&answers[..1], &LEARNING), None);
    }
}

#[test]
fn who_said_what_they_want_is_believed_until_their_choices_say_otherwise() {
    for policies in [2, 3, 5, 8, 64] {
        let mut said = vec![0.0; policies];
        said[0] = 1.0;
        let mut taste = Taste::new(names(policies), &said, &LEARNING);
        let before = taste.belief();
        assert!(l1(before.weights(), &said) < 0.2, "{policies}: {:?}", before.weights());
        // What no policy sees a difference in moves nobody.
        taste.learn(&vec![3.0; policies], 1.0, &LEARNING);
        assert!(l1(taste.belief().weights(), before.weights()) < 1e-9);
        let mut gains = vec![0.0; policies];
        (gains[0], gains[policies - 1]) = (-20.0, 20.0);
        taste.learn(&gains, 1.0, &LEARNING);
        assert!(taste.belief().weights()[0] > 0.7, "{policies}: once is not enough");
        (0..if policies < 64 { 7 } else { 40 }).for_each(|_| taste.learn(&gains, 1.0, &LEARNING));
        let now = taste.belief();
        assert!(now.weights()[policies - 1] > now.weights()[0], "{policies}: {:?}", now.weights());
    }
    // Weights that are all above 0 are where it begins.
    let taste = Taste::new(names(3), &[0.7, 0.1, 0.2], &LEARNING);
    assert!(l1(taste.belief().weights(), &[0.7, 0.1, 0.2]) < 1e-9);
}

/// Whatever is chosen, however absurdly.
#[test]
fn nothing_that_is_chosen_leaves_the_simplex() {
    let mut random = Random(9);
    for (policies, size) in [(2, 1e3), (3, 0.0), (5, 40.0), (5, 1e6), (16, 100.0), (64, 30.0)] {
        let mut taste = fresh(policies);
        for count in 0..60 {
            let gains: Vec<f64> = (0..policies).map(|_| size * random.normal()).collect();
            taste.learn(&gains, [1.0, 0.0, 0.5, 0.9][count % 4], &LEARNING);
            let belief = taste.belief();
            let (weights, deviations) = (belief.weights(), belief.deviations());
            assert!(weights.iter().all(|w| (0.0..=1.0).contains(w)), "{policies} {size} {count}: {weights:?}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{policies} {size} {count}: {weights:?}");
            assert!(deviations.iter().all(|d| (0.0..=0.71).contains(d)), "{policies} {size} {count}: {deviations:?}");
        }
    }
}

/// As it was stored by versions that took the likeliest point for the preference: the same normal distribution, whole.
#[test]
fn what_earlier_versions_stored_is_read() {
    let stored = r#"{"policies":["a","b"],"mean":[1.2,-0.2],"covariance":[0.02,-0.02,-0.02,0.02],"choices":7}"#;
    let taste: Taste = serde_json::from_str(stored).unwrap();
    assert_eq!(taste.choices(), 7);
    assert_eq!(serde_json::to_string(&taste).unwrap(), stored);
    // On a line the cut is exact: the mean between 0 and 1 of a normal variable of mean 1.2 and variance 0.02.
    let density = |x: f64| (-(x - 1.2).powi(2) / 0.04).exp();
    let points = || (0..100_000).map(|i| (f64::from(i) + 0.5) / 1e5);
    let expected = points().map(|x| x * density(x)).sum::<f64>() / points().map(density).sum::<f64>();
    assert!((taste.belief().weights()[0] - expected).abs() < 1e-3, "{:?} {expected}", taste.belief());
}

#[test]
fn what_would_teach_nothing_is_worth_nothing() {
    let mut taste = fresh(3);
    assert!(taste.belief().information(&[4.0; 3], &LEARNING) < 1e-12, "all policies gain alike");
    assert!((taste.belief().probability(&[4.0, -2.0, -2.0], &LEARNING) - 0.5).abs() < 1e-9);
    let question = [6.0, -6.0, 0.0];
    let before = taste.belief().information(&question, &LEARNING);
    (0..20).for_each(|_| taste.learn(&question, 1.0, &LEARNING));
    let belief = taste.belief();
    assert!(belief.information(&question, &LEARNING) < before / 2.0, "what is known is not worth asking");
    assert!(belief.probability(&question, &LEARNING) > 0.85);
    assert!(belief.weights()[0] > belief.weights()[2] && belief.weights()[2] > belief.weights()[1]);
}

#[test]
fn what_is_forgotten_can_change() {
    let question = [6.0, -6.0];
    let after = |memory: f64| {
        let learning = Learning { memory, ..LEARNING };
        let mut taste = fresh(2);
        (0..60).for_each(|_| taste.learn(&question, 1.0, &learning));
        (0..20).for_each(|_| taste.learn(&question, 0.0, &learning));
        taste.belief().weights()[0]
    };
    assert!(after(0.9) < 0.3 && after(1.0) > 0.5, "{} {}", after(0.9), after(1.0));
    // However long nothing is learned, nobody is less sure than at first.
    let learning = Learning { memory: 0.5, ..LEARNING };
    let mut taste = fresh(2);
    (0..50).for_each(|_| taste.learn(&[0.0, 0.0], 1.0, &learning));
    assert!(
        taste
            .belief()
            .deviations()
            .iter()
            .zip(fresh(2).belief().deviations())
            .all(|(now, first)| *now <= first * (1.0 + 1e-9))
    );
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
    let belief = other.belief();
    let weights = belief.weights();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(weights[0] > weights[1]);
    assert!(weights[2] + weights[3] < 0.1, "who is new is not wanted yet: {weights:?}");
    let mut other = other;
    (0..6).for_each(|_| other.learn(&[-10.0, 0.0, 20.0, 0.0], 1.0, &LEARNING));
    assert!(other.belief().weights()[2] > 0.3, "but can be: {:?}", other.belief());
}
