use super::{every_isa, random};
use crate::{Compute, Likelihood};

fn likelihoods(compute: &Compute, logits: &[f32], vocabulary: usize) -> Vec<Likelihood> {
    let empty = Likelihood { best: 0, largest: 0.0, log_total: 0.0, finite: false };
    let mut to = vec![empty; logits.len() / vocabulary];
    compute.likelihoods(logits, vocabulary, &mut to);
    to
}

#[test]
fn sums_up_each_row() {
    for vocabulary in [1, 15, 16, 33, 1000] {
        let logits: Vec<f32> = random(3 * vocabulary, 1).iter().map(|x| x * 30.0).collect();
        for compute in every_isa() {
            let found = likelihoods(&compute, &logits, vocabulary);
            for (found, row) in found.iter().zip(logits.chunks(vocabulary)) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
                assert_eq!((found.largest, found.finite), (largest, true));
                assert_eq!(row[found.best as usize], largest);
                assert!((f64::from(found.log_total) - total.ln()).abs() < 1e-5, "{found:?} {}", total.ln());
            }
        }
    }
}

#[test]
fn the_first_of_equals_is_best() {
    for compute in every_isa() {
        let mut logits = vec![0.0; 40];
        for at in [39, 17, 3] {
            logits[at] = 2.0;
            assert_eq!(likelihoods(&compute, &logits, 40)[0].best as usize, at);
        }
    }
}

#[test]
fn what_is_not_finite_is_told_wherever_it_stands() {
    for compute in every_isa() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 15, 16, 31, 32, 34] {
                let mut logits = random(3 * 35, 2);
                logits[35 + at] = bad;
                let finite: Vec<bool> = likelihoods(&compute, &logits, 35).iter().map(|l| l.finite).collect();
                assert_eq!(finite, [true, false, true], "{} {bad} at {at}", compute.isa().name());
            }
        }
        let all = likelihoods(&compute, &[f32::NAN; 20], 20);
        assert!(!all[0].finite && all[0].best < 20);
    }
}
