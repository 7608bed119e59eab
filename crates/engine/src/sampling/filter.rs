//! `top_k`, `top_p` and `min_p` without a list of the whole vocabulary, let alone a sorted one.
//!
//! Tokens are counted in buckets by how far their logit lies below the largest. The buckets tell how low a token can lie
//! and still be allowed, and only what lies higher is gathered, weighed and sorted:
//!
//! ```text
//! x = (logit - largest) / temperature         bucket 0: x > -1/8, bucket 1: x > -2/8, ... the last one: all the rest
//! weight = exp(x), 1 for the likeliest
//! ```

use std::cmp::Ordering;

use super::params::SamplingParams;

/// Buckets for each factor of e.
const FINE: f32 = 8.0;
/// What lies lower than e^-64 shares the last one.
const BUCKETS: usize = 64 * FINE as usize;

/// A token and its unnormalised probability, `exp((logit - largest) / temperature)`.
pub(super) type Candidate = (u32, f32);

/// Likeliest first; equal ones by id, so that the order is always the same.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Buffers of a choice. They serve one sequence after the other.
#[derive(Debug)]
pub(super) struct Filter {
    /// What may be chosen, likeliest first.
    pub(super) candidates: Vec<Candidate>,
    counts: Box<[u32; BUCKETS]>,
    masses: Box<[f64; BUCKETS]>,
}

/// Logits as they are weighed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing<'a> {
    pub(super) logits: &'a [f32],
    pub(super) largest: f32,
    /// 1 / temperature
    pub(super) inverse: f32,
}

impl Weighing<'_> {
    fn below(self, logit: f32) -> f32 {
        (logit - self.largest) * self.inverse
    }

    pub(super) fn weight(self, logit: f32) -> f32 {
        self.below(logit).exp()
    }

    fn bucket(self, logit: f32) -> usize {
        bucket(self.below(logit))
    }
}

/// Larger for smaller `x`.
fn bucket(x: f32) -> usize {
    ((-x * FINE) as usize).min(BUCKETS - 1)
}

/// Whether the parameters allow every token.
pub(super) fn allows_all(params: &SamplingParams) -> bool {
    params.top_k == 0 && params.top_p >= 1.0 && params.min_p <= 0.0
}

/// Whether `top_k` leaves any token out.
pub(super) fn limits_count(params: &SamplingParams, vocabulary: usize) -> bool {
    (1..vocabulary).contains(&params.top_k)
}

impl Filter {
    pub(super) fn new(vocabulary: usize) -> Self {
        Self {
            candidates: Vec::with_capacity(vocabulary),
            counts: Box::new([0; BUCKETS]),
            masses: Box::new([0.0; BUCKETS]),
        }
    }

    /// Finds the candidates that the parameters allow. At least the likeliest is one.
    pub(super) fn keep(&mut self, from: Weighing<'_>, params: &SamplingParams) {
        if limits_count(params, from.logits.len()) {
            self.most(from, params.top_k);
            if params.top_p < 1.0 {
                let goal = f64::from(params.top_p) * mass(&self.candidates);
                self.candidates.sort_unstable_by(order);
                truncate(&mut self.candidates, goal);
            }
        } else if params.top_p < 1.0 {
            self.nucleus(from, params.top_p);
        } else {
            // One bucket more: `ln` and `exp` both round.
            self.gather(from, bucket(params.min_p.ln()) + 1);
        }
        if params.min_p > 0.0 {
            // The likeliest weighs exp(0) = 1.
            self.candidates.retain(|c| c.1 >= params.min_p);
        }
        self.candidates.sort_unstable_by(order);
    }

    /// Takes all tokens down to a bucket.
    fn gather(&mut self, from: Weighing<'_>, last: usize) {
        let inside = from.logits.iter().enumerate().filter(|(_, logit)| from.bucket(**logit) <= last);
        self.candidates.clear();
        self.candidates.extend(inside.map(|(id, logit)| (id as u32, from.weight(*logit))));
    }

    /// The `count` likeliest tokens, in any order.
    fn most(&mut self, from: Weighing<'_>, count: usize) {
        self.counts.fill(0);
        from.logits.iter().for_each(|logit| self.counts[from.bucket(*logit)] += 1);
        let mut inside = 0;
        let last = self.counts.iter().position(|n| {
            inside += *n as usize;
            inside >= count
        });
        // One bucket more: where both meet, weights may round to the same, and then ids decide.
        self.gather(from, last.unwrap_or(BUCKETS - 1) + 1);
        if count < self.candidates.len() {
            self.candidates.select_nth_unstable_by(count - 1, order);
            self.candidates.truncate(count);
        }
    }

    /// The smallest set of likeliest tokens that holds `share` of the mass (Holtzman et al., arXiv 1904.09751).
    fn nucleus(&mut self, from: Weighing<'_>, share: f32) {
        self.masses.fill(0.0);
        // In f64: the tail of a large vocabulary would vanish in an f32 sum.
        let mut total = 0.0;
        for logit in from.logits {
            let weight = f64::from(from.weight(*logit));
            total += weight;
            self.masses[from.bucket(*logit)] += weight;
        }
        let goal = f64::from(share) * total;
        let mut inside = 0.0;
        let last = self.masses.iter().position(|mass| {
            inside += mass;
            inside >= goal
        });
        let mut last = last.unwrap_or(BUCKETS - 1) + 1;
        loop {
            self.gather(from, last);
            self.candidates.sort_unstable_by(order);
            // Summed up in another order, the mass may fall short by a rounding.
            if truncate(&mut self.candidates, goal) || last >= BUCKETS {
                return;
            }
            last *= 2;
        }
    }
}

fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|c| f64::from(c.1)).sum()
}

/// Cuts sorted candidates off where they hold `goal`; tells whether they do.
fn truncate(candidates: &mut Vec<Candidate>, goal: f64) -> bool {
    let mut mass = 0.0;
    let last = candidates.iter().position(|c| {
        mass += f64::from(c.1);
        mass >= goal
    });
    if let Some(last) = last {
        candidates.truncate(last + 1);
    }
    last.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Candidate, Filter, Weighing, allows_all, mass, order, truncate};
    use crate::sampling::SamplingParams;

    /// The definitions, on the whole vocabulary, sorted.
    fn plain(from: Weighing<'_>, params: &SamplingParams) -> Vec<Candidate> {
        let weigh = |(id, logit): (usize, &f32)| (id as u32, from.weight(*logit));
        let mut all: Vec<_> = from.logits.iter().enumerate().map(weigh).collect();
        let total = mass(&all);
        all.sort_by(order);
        let total = if params.top_k > 0 && params.top_k < all.len() {
            all.truncate(params.top_k);
            mass(&all)
        } else {
            total
        };
        if params.top_p < 1.0 {
            truncate(&mut all, f64::from(params.top_p) * total);
        }
        all.retain(|c| c.1 >= params.min_p);
        all
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_the_definitions_say(
            // Halves: many are equal.
            halves in prop::collection::vec(-60_i32..30, 1..400),
            fine in 0.0_f32..2.0,
            inverse in 0.2_f32..3.0,
            top_k in 0_usize..50,
            top_p in prop_oneof![Just(1.0_f32), 0.01_f32..1.0],
            min_p in prop_oneof![Just(0.0_f32), 0.0001_f32..1.0],
        ) {
            let logits: Vec<f32> =
                halves.iter().enumerate().map(|(i, h)| *h as f32 / 2.0 + fine * ((i * 7 % 31) as f32 / 31.0)).collect();
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let params = SamplingParams { top_k, top_p, min_p, ..SamplingParams::default() };
            prop_assume!(!allows_all(&params));
            let from = Weighing { logits: &logits, largest, inverse };
            let mut filter = Filter::new(logits.len());
            filter.keep(from, &params);
            let wanted = plain(from, &params);
            // Where a sum is rounded differently, one token more or less may reach `top_p`.
            let (got, short) = (&filter.candidates, wanted.len().min(filter.candidates.len()));
            prop_assert_eq!(&got[..short], &wanted[..short]);
            let exact = top_k == 0 || top_k >= logits.len() || top_p >= 1.0;
            prop_assert!(got.len() == wanted.len() || !exact && got.len().abs_diff(wanted.len()) == 1);
        }
    }

    #[test]
    fn few_are_gathered_where_few_are_allowed() {
        let logits: Vec<f32> = (0..50_000).map(|i| -((i * 7919 % 50_000) as f32) / 100.0).collect();
        let from = Weighing { logits: &logits, largest: 0.0, inverse: 1.0 };
        let few = [
            SamplingParams { top_k: 40, ..SamplingParams::default() },
            SamplingParams { top_p: 0.9, ..SamplingParams::default() },
            SamplingParams { min_p: 0.05, ..SamplingParams::default() },
        ];
        for params in few {
            let mut filter = Filter::new(0);
            filter.keep(from, &params);
            assert!(filter.candidates.capacity() < 1000, "{params:?}: {}", filter.candidates.capacity());
        }
    }
}
