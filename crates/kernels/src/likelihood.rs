//! What choosing a token needs to know of a row of logits, in one pass by the team.
#![allow(unsafe_code)]

use crate::Compute;
use crate::math::exp;
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};

/// One row of logits in a few numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Likelihood {
    /// The first of the largest logits.
    pub best: u32,
    /// Its logit.
    pub largest: f32,
    /// `ln Σ e^(logit - largest)`: a token's log-probability is `logit - largest - log_total`.
    pub log_total: f32,
    /// Whether every logit is a finite number.
    pub finite: bool,
}

impl Compute {
    /// Sums up each row of `logits`, (rows, `vocabulary`).
    ///
    /// # Panics
    /// When the rows are not whole, or there are not as many places in `to`.
    pub fn likelihoods(&self, logits: &[f32], vocabulary: usize, to: &mut [Likelihood]) {
        assert_eq!(logits.len(), to.len() * vocabulary);
        let places = Places(to.as_mut_ptr());
        let rows = to.len();
        self.team().run(rows, &|row| {
            let likelihood = self.isa().run(Summarise { logits: &logits[row * vocabulary..][..vocabulary] });
            // SAFETY: `row` is below the length of `to`, which is borrowed exclusively; each unit has its own.
            unsafe { *places.at(row) = likelihood };
        });
    }
}

/// Where the units write.
struct Places(*mut Likelihood);

// SAFETY: each unit writes its own place.
unsafe impl Sync for Places {}

impl Places {
    fn at(&self, row: usize) -> *mut Likelihood {
        self.0.wrapping_add(row)
    }
}

struct Summarise<'a> {
    logits: &'a [f32],
}

impl Op for Summarise<'_> {
    type Output = Likelihood;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Likelihood {
        let logits = self.logits;
        let (vectors, rest) = logits.as_chunks::<LANES>();
        let mut largest = s.splat(f32::NEG_INFINITY);
        // x · 0 is NaN for all that is not finite.
        let mut zero = s.splat(0.0);
        for vector in vectors {
            let x = s.load(vector);
            largest = s.max(largest, x);
            zero = s.mul_add(x, s.splat(0.0), zero);
        }
        let tail = rest.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let largest = s.largest(largest).max(tail);
        let finite = s.sum(zero) == 0.0 && rest.iter().all(|x| x.is_finite());
        let best = logits.iter().position(|x| *x == largest).unwrap_or(0) as u32;
        let shift = s.splat(largest);
        let mut total = s.splat(0.0);
        for vector in vectors {
            total = s.add(total, exp(s, s.sub(s.load(vector), shift)));
        }
        let mut total = s.sum(total);
        let mut lanes = [0.0; LANES];
        s.store(exp(s, s.sub(load_part(s, rest, 0), shift)), &mut lanes);
        total += lanes[..rest.len()].iter().sum::<f32>();
        Likelihood { best, largest, log_total: total.ln(), finite }
    }
}
