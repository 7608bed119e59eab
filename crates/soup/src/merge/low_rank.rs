//! The change of a soup to one module, as a product of two thin matrices.

use std::collections::BTreeSet;

use super::factor::Factors;
use super::mean::Mean;
use super::{MergeError, require_same_revision};
use crate::{LoraModule, LoraPolicy, Method, Pool, Soup};

/// `B A` of one module: what a soup adds to its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// The sum of the policies' ranks; of `factor` soups their rank.
    pub rank: usize,
    /// Columns of A.
    pub in_features: usize,
    /// Rows of B.
    pub out_features: usize,
    /// (rank, in), row-major.
    pub a: Vec<f32>,
    /// (out, rank), row-major; holds weights, scales and strength.
    pub b: Vec<f32>,
}

/// `t Σ_i w_i s_i B_i A_i` as `[t w_1 s_1 B_1, t w_2 s_2 B_2, ...] · [A_1; A_2; ...]`; of a `factor` soup the product of
/// its two means. `None` when `soup` leaves `module` (`model...q_proj`) as it is.
///
/// # Errors
/// [`MergeError::NoAdapter`] for the base, for full-weight policies and for methods whose change is not of low rank.
pub fn low_rank(pool: &Pool, soup: &Soup, module: &str) -> Result<Option<LowRank>, MergeError> {
    let policies = active_loras(pool, soup)?;
    let found = policies.iter().filter_map(|(lora, weight)| Some((lora.modules().get(module)?, *weight)));
    let found: Vec<_> = found.collect();
    require_one_shape(module, &found)?;
    Ok(match soup.method() {
        _ if found.is_empty() => None,
        Method::Factor => Some(mean(soup, &found, found.len() == policies.len())),
        _ => Some(stack(soup, &found)),
    })
}

/// Whether [`low_rank`] has the changes of this soup.
#[must_use]
pub fn is_low_rank(pool: &Pool, soup: &Soup) -> bool {
    active_loras(pool, soup).is_ok()
}

pub(super) fn active_loras<'a>(pool: &'a Pool, soup: &Soup) -> Result<Vec<(&'a LoraPolicy, f64)>, MergeError> {
    require_same_revision(pool, soup)?;
    let no = |why: String| Err(MergeError::NoAdapter(why));
    match soup.method() {
        Method::Exact | Method::Factor | Method::Linear => {}
        other => return no(format!("the change of {other} is not of low rank")),
    }
    if soup.is_base() {
        return no("it changes nothing".into());
    }
    let mut loras = Vec::new();
    for (index, weight) in soup.active() {
        let policy = &pool.policies()[index];
        match policy.lora() {
            Some(lora) => loras.push((lora, weight)),
            None => return no(format!("{} is a full-weight policy", policy.id())),
        }
    }
    Ok(loras)
}

fn require_one_shape(name: &str, found: &[(&LoraModule, f64)]) -> Result<(), MergeError> {
    let shape = |m: &LoraModule| vec![m.out_features, m.in_features];
    let shapes: BTreeSet<Vec<usize>> = found.iter().map(|(module, _)| shape(module)).collect();
    match &shapes.iter().collect::<Vec<_>>()[..] {
        [first, second, ..] => {
            Err(MergeError::Shape { name: name.to_owned(), shape: first.to_vec(), found: second.to_vec() })
        }
        _ => Ok(()),
    }
}

fn stack(soup: &Soup, found: &[(&LoraModule, f64)]) -> LowRank {
    let rank = found.iter().map(|(module, _)| module.rank).sum();
    let (in_features, out_features) = found.first().map_or((0, 0), |(m, _)| (m.in_features, m.out_features));
    let mut b = Vec::with_capacity(out_features * rank);
    for row in 0..out_features {
        for (module, weight) in found {
            let scale = soup.strength() * weight * module.scale;
            let values = &module.b[row * module.rank..][..module.rank];
            b.extend(values.iter().map(|v| (scale * f64::from(*v)) as f32));
        }
    }
    let a = found.iter().flat_map(|(module, _)| module.a.iter().copied()).collect();
    LowRank { rank, in_features, out_features, a, b }
}

fn mean(soup: &Soup, found: &[(&LoraModule, f64)], by_all: bool) -> LowRank {
    let modules: Vec<&LoraModule> = found.iter().map(|(module, _)| *module).collect();
    let weights = found.iter().map(|(_, weight)| *weight).collect();
    let factors = Factors::mean(&modules, &Mean::new(weights, soup.options().normalize && by_all));
    let (in_features, out_features) = modules.first().map_or((0, 0), |m| (m.in_features, m.out_features));
    LowRank {
        rank: factors.rank,
        in_features,
        out_features,
        a: factors.a.iter().map(|v| *v as f32).collect(),
        b: factors.b.iter().map(|v| (soup.strength() * v) as f32).collect(),
    }
}
