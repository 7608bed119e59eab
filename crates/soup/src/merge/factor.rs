//! `W + t (Σ_i w_i s_i B_i)(Σ_j w_j A_j)`: both factors averaged separately, as the paper's code does.
//!
//! That is not the mean of the products: one policy's B meets the others' A, and two policies at 0.5 with nothing in
//! common act at a quarter of their strength each. Where the scales are equal, s could stand in front; where they
//! differ, each belongs to its own B. Policies of a smaller rank are padded with zeros up to the largest; a policy
//! without factors for the module takes part with zeros.

use super::delta::{Delta, product};
use super::mean::Mean;
use super::{Part, add};
use crate::LoraModule;

pub(super) fn merge(part: &Part<'_>) -> Vec<f32> {
    let modules: Vec<&LoraModule> = part.deltas.iter().filter_map(|(_, delta)| low_rank(delta)).collect();
    let factors = Factors::mean(&modules, &part.mean);
    let mut change = vec![0.0; part.width];
    let mut merged = Vec::with_capacity(part.base.len());
    for (base, b) in part.base.chunks_exact(part.width).zip(factors.b.chunks_exact(factors.rank)) {
        product(b.iter().copied(), &factors.a, &mut change);
        merged.extend(base.iter().zip(&change).map(|(base, change)| add(*base, part.soup.strength() * change)));
    }
    merged
}

fn low_rank<'a>(delta: &Delta<'a>) -> Option<&'a LoraModule> {
    match delta {
        Delta::LowRank { module, .. } => Some(module),
        Delta::Full { .. } => None,
    }
}

/// The two means, in f64.
pub(super) struct Factors {
    /// The largest of the policies' ranks.
    pub(super) rank: usize,
    /// `Σ_j w_j A_j`, rank x in.
    pub(super) a: Vec<f64>,
    /// `Σ_i w_i s_i B_i`, out x rank.
    pub(super) b: Vec<f64>,
}

impl Factors {
    /// `modules` are of one shape, at least one, as many as `mean` has weights.
    pub(super) fn mean(modules: &[&LoraModule], mean: &Mean) -> Self {
        let rank = modules.iter().map(|m| m.rank).max().unwrap_or(0);
        let (columns, rows) = modules.first().map_or((0, 0), |m| (m.in_features, m.out_features));
        let padded_a = |m: &&LoraModule| {
            let mut a: Vec<f64> = m.a.iter().copied().map(f64::from).collect();
            a.resize(rank * columns, 0.0);
            a
        };
        let padded_b = |m: &&LoraModule| {
            let mut b = vec![0.0; rows * rank];
            for (out, row) in b.chunks_exact_mut(rank).zip(m.b.chunks_exact(m.rank)) {
                out.iter_mut().zip(row).for_each(|(out, b)| *out = m.scale * f64::from(*b));
            }
            b
        };
        let (mut a, mut b) = (vec![0.0; rank * columns], vec![0.0; rows * rank]);
        mean.of(&modules.iter().map(padded_a).collect::<Vec<_>>(), &mut a);
        mean.of(&modules.iter().map(padded_b).collect::<Vec<_>>(), &mut b);
        Self { rank, a, b }
    }
}
