//! `top_k`, `top_p` and `min_p`, without sorting a vocabulary where a few tokens hold the mass.

use std::cmp::Ordering;

use super::params::SamplingParams;

/// How many of the likeliest tokens are sorted at first; eight times more when they do not hold `top_p`.
const FIRST: usize = 256;

/// A token and its unnormalised probability, `exp((logit - largest) / temperature)`.
pub(super) type Candidate = (u32, f32);

/// Likeliest first; equal ones by id, so that the order is always the same.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the candidates that the parameters allow. At least the likeliest stays.
pub(super) fn keep(candidates: &mut Vec<Candidate>, params: &SamplingParams) {
    let all = params.top_k == 0 && params.top_p >= 1.0 && params.min_p <= 0.0;
    if all || candidates.is_empty() {
        return;
    }
    if params.top_k > 0 && params.top_k < candidates.len() {
        candidates.select_nth_unstable_by(params.top_k - 1, order);
        candidates.truncate(params.top_k);
    }
    if params.top_p < 1.0 {
        nucleus(candidates, params.top_p);
    }
    if params.min_p > 0.0 {
        // The likeliest weighs exp(0) = 1.
        candidates.retain(|c| c.1 >= params.min_p);
    }
    candidates.sort_unstable_by(order);
}

/// The smallest set of likeliest tokens that holds `share` of the mass (Holtzman et al., arXiv 1904.09751).
fn nucleus(candidates: &mut Vec<Candidate>, share: f32) {
    // In f64: the tail of a large vocabulary would vanish in an f32 sum.
    let goal = f64::from(share) * candidates.iter().map(|c| f64::from(c.1)).sum::<f64>();
    let mut sorted = FIRST.min(candidates.len());
    loop {
        if sorted < candidates.len() {
            candidates.select_nth_unstable_by(sorted - 1, order);
        }
        candidates[..sorted].sort_unstable_by(order);
        let mut mass = 0.0;
        let inside = candidates[..sorted].iter().position(|c| {
            mass += f64::from(c.1);
            mass >= goal
        });
        match inside {
            Some(last) => return candidates.truncate(last + 1),
            None if sorted == candidates.len() => return,
            None => sorted = (sorted * 8).min(candidates.len()),
        }
    }
}
