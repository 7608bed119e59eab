//! The parameters of a soup.
//!
//! With base weight W, policy i's change `D_i` (`s_i B_i A_i`, or `theta_i - W`), weights `w_i` and strength t:
//!
//! | method | W becomes | source |
//! |---|---|---|
//! | `exact`, `linear` | `W + t Σ_i w_i D_i` | arXiv 2310.11564, section 3 |
//! | `factor` | `W + t (Σ_i w_i s_i B_i)(Σ_j w_j A_j)` | the same paper's code |
//! | `ties` | `W + t` · weighted disjoint mean of the trimmed `D_i` | arXiv 2306.01708 |
//! | `dare_linear` | `W + t Σ_i w_i m_i∘D_i / density`, `m_i` drawn | arXiv 2311.03099 |
//! | `dare_ties` | as `ties`, of `m_i∘D_i / density` instead of trimmed ones | both |
//! | `slerp` | `W + t slerp(D_1, D_2; w_2)` | Shoemake 1985 |
//!
//! Every sum is in f64, over the policies in the order of their ids, and is rounded to f32 once, at the end. Nothing
//! depends on threads, on what was merged before, or on the order of a preference.
//!
//! Weighted means are taken as `x_a + Σ w_i (x_i - x_a)`, with a the policy of the largest weight: policies that are
//! equal give exactly that policy, whatever the weights, and one policy alone gives exactly itself.

mod as_peft;
mod average;
mod dare;
mod delta;
mod error;
mod factor;
mod linear;
mod low_rank;
mod mean;
mod slerp;
mod ties;

use std::collections::BTreeSet;

pub use as_peft::{PeftAdapter, as_peft};
pub use average::{Average, Source, average};
pub(crate) use delta::Delta;
pub use error::MergeError;
pub use low_rank::{LowRank, is_low_rank, low_rank};
use mean::Mean;

use crate::{Method, Policy, PolicyWeights, Pool, Soup};

/// One tensor of the soup: `base` is the base's, with its Hugging Face `name` (`model...q_proj.weight`) and row-major
/// in `shape` (a linear weight: out, in). `None` when the soup leaves it as it is.
///
/// Working memory: a few rows for `exact`, `linear` and `factor`; 8 bytes for each value of the tensor and each policy
/// in the soup for the others.
///
/// # Errors
/// When the soup is of another revision, `base` does not have `shape`, a policy does not fit it, a mapped file was
/// changed in place, or a merged value is not finite in f32.
pub fn tensor(
    pool: &Pool,
    soup: &Soup,
    name: &str,
    shape: &[usize],
    base: &[f32],
) -> Result<Option<Vec<f32>>, MergeError> {
    require_same_revision(pool, soup)?;
    if shape.iter().product::<usize>() != base.len() {
        return Err(MergeError::Shape { name: name.to_owned(), shape: shape.to_vec(), found: vec![base.len()] });
    }
    if soup.is_base() || base.is_empty() {
        return Ok(None);
    }
    let mut weights = Vec::new();
    let mut deltas = Vec::new();
    let mut absent = 0;
    for (index, weight) in soup.active() {
        match Delta::of(&pool.policies()[index], name, shape, base)? {
            Some(delta) => {
                weights.push(weight);
                deltas.push((index, delta));
            }
            None => absent += 1,
        }
    }
    if deltas.is_empty() {
        return Ok(None);
    }
    // A policy that leaves the tensor alone takes part with a change of 0.
    let sums_to_one = soup.options().normalize && absent == 0;
    let part = Part {
        name,
        soup,
        base,
        width: shape.last().copied().unwrap_or(1),
        mean: Mean::new(weights, sums_to_one),
        deltas,
    };
    let merged = match soup.method() {
        Method::Exact | Method::Linear => linear::merge(&part),
        Method::Factor => factor::merge(&part),
        Method::Ties => ties::merge(&part),
        Method::DareLinear => dare::linear(&part, pool),
        Method::DareTies => dare::ties(&part, pool),
        Method::Slerp => slerp::merge(&part),
        Method::Logits => return Err(MergeError::NotParameters(Method::Logits)),
    };
    match merged.iter().all(|value| value.is_finite()) {
        true => Ok(Some(merged)),
        false => Err(MergeError::NotFinite { name: name.to_owned() }),
    }
}

/// Names of the tensors that `soup` changes, sorted. Empty for the base.
pub fn touched(pool: &Pool, soup: &Soup) -> Vec<String> {
    if soup.is_base() {
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    for policy in soup.active().filter_map(|(index, _)| pool.policies().get(index)) {
        names.extend(tensors_of(policy));
    }
    names.into_iter().collect()
}

fn tensors_of(policy: &Policy) -> Vec<String> {
    match policy.weights() {
        PolicyWeights::Lora(lora) => lora.modules().keys().map(|module| format!("{module}.weight")).collect(),
        PolicyWeights::Full(full) => full.names().map(str::to_owned).collect(),
    }
}

fn require_same_revision(pool: &Pool, soup: &Soup) -> Result<(), MergeError> {
    if pool.revision() == soup.revision() {
        return Ok(());
    }
    Err(MergeError::OtherRevision { soup: *soup.revision(), pool: *pool.revision() })
}

/// One tensor on its way: the policies that change it, and how much of each.
struct Part<'a> {
    name: &'a str,
    soup: &'a Soup,
    base: &'a [f32],
    /// Values in a row.
    width: usize,
    mean: Mean,
    /// Index in the pool, and the change. As many as `mean` has weights.
    deltas: Vec<(usize, Delta<'a>)>,
}

impl Part<'_> {
    /// `W + t · change`, rounded once.
    fn apply(&self, change: &[f64]) -> Vec<f32> {
        self.base.iter().zip(change).map(|(base, change)| add(*base, self.soup.strength() * change)).collect()
    }

    /// Every change in full.
    fn dense(&self) -> Vec<Vec<f64>> {
        let dense = |(_, delta): &(usize, Delta<'_>)| {
            let mut values = vec![0.0; self.base.len()];
            values.chunks_exact_mut(self.width).enumerate().for_each(|(row, out)| delta.row(row, out));
            values
        };
        self.deltas.iter().map(dense).collect()
    }
}

/// `base + change` in f64, rounded once; no change leaves the base's own bits (adding 0 would turn -0 into 0).
fn add(base: f32, change: f64) -> f32 {
    if change == 0.0 { base } else { (f64::from(base) + change) as f32 }
}
