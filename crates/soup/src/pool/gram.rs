//! How large the policies' changes are, and how they lie to each other.

use std::collections::BTreeMap;

use super::Pool;
use crate::{LoraModule, LoraPolicy, Policy, Soup};

impl Pool {
    /// `G[i][j] = <D_i, D_j>`, the Frobenius product of the whole changes of policies i and j, in the pool's order.
    ///
    /// From the factors alone: `<s_i B_i A_i, s_j B_j A_j> = s_i s_j tr((B_iᵀ B_j)(A_j A_iᵀ))`, summed over modules in
    /// f64. Entries of full-weight policies are NaN until [`Self::measure`] was given the base's tensors.
    pub fn gram(&self) -> &[Vec<f64>] {
        &self.gram
    }

    /// Frobenius norm of each policy's change, in the pool's order; NaN for full-weight policies (see [`Self::gram`]).
    pub fn norms(&self) -> Vec<f64> {
        (0..self.policies.len()).map(|i| self.gram[i][i].sqrt()).collect()
    }

    /// Cosine between the changes of each two policies: 1 is the same direction, below 0 they work against each other.
    /// 0 when one of them changes nothing, NaN with a full-weight policy (see [`Self::gram`]).
    pub fn conflicts(&self) -> Vec<Vec<f64>> {
        let norms = self.norms();
        let cosine = |i: usize, j: usize| match norms[i] * norms[j] {
            0.0 => 0.0,
            product => (self.gram[i][j] / product).clamp(-1.0, 1.0),
        };
        (0..norms.len()).map(|i| (0..norms.len()).map(|j| cosine(i, j)).collect()).collect()
    }

    /// How far `soup` moves from the base: `strength · sqrt(wᵀ G w)`, the Frobenius norm of an `exact` or `linear`
    /// soup's change. For other methods it is that of the `exact` soup with the same weights. NaN when a full-weight
    /// policy has a weight (see [`Self::gram`]).
    pub fn drift(&self, soup: &Soup) -> f64 {
        let mut square = 0.0;
        for (i, wi) in soup.active() {
            for (j, wj) in soup.active() {
                square += wi * wj * self.gram[i][j];
            }
        }
        // The sum of a soup that cancels itself may round to just below 0. NaN stays NaN: f64::max would hide it.
        soup.strength() * if square < 0.0 { 0.0 } else { square.sqrt() }
    }
}

/// The matrix of all policies.
pub(super) fn of(policies: &[Policy]) -> Vec<Vec<f64>> {
    let mut gram = vec![vec![f64::NAN; policies.len()]; policies.len()];
    for (i, first) in policies.iter().enumerate() {
        for (j, second) in policies.iter().enumerate().skip(i) {
            if let (Some(first), Some(second)) = (first.lora(), second.lora()) {
                gram[i][j] = product(first, second);
                gram[j][i] = gram[i][j];
            }
        }
    }
    gram
}

/// Modules that only one of them changes add nothing; neither do modules of different shapes, of which
/// [`Pool::check_base`] refuses one.
fn product(first: &LoraPolicy, second: &LoraPolicy) -> f64 {
    let second: &BTreeMap<_, _> = second.modules();
    let shared = first.modules().iter().filter_map(|(name, module)| Some((module, second.get(name)?)));
    shared.filter(|(x, y)| x.in_features == y.in_features && x.out_features == y.out_features).map(pair).sum()
}

/// `s_i s_j Σ_kl (B_iᵀ B_j)[k][l] (A_i A_jᵀ)[k][l]`
fn pair((x, y): (&LoraModule, &LoraModule)) -> f64 {
    let mut bb = vec![0.0; x.rank * y.rank];
    for (row_x, row_y) in x.b.chunks_exact(x.rank).zip(y.b.chunks_exact(y.rank)) {
        for (sums, bx) in bb.chunks_exact_mut(y.rank).zip(row_x) {
            for (sum, by) in sums.iter_mut().zip(row_y) {
                *sum += f64::from(*bx) * f64::from(*by);
            }
        }
    }
    let mut sum = 0.0;
    for (bb, ax) in bb.chunks_exact(y.rank).zip(x.a.chunks_exact(x.in_features)) {
        for (bb, ay) in bb.iter().zip(y.a.chunks_exact(y.in_features)) {
            let dot: f64 = ax.iter().zip(ay).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            sum += bb * dot;
        }
    }
    x.scale * y.scale * sum
}
