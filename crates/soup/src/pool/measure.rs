//! Norms and angles of full-weight policies.

use std::collections::BTreeMap;

use super::Pool;
use crate::merge::{Delta, MergeError};
use crate::{FullPolicy, Policy};

impl Pool {
    /// Fills in what [`Pool::open`] could not know: the entries of [`Pool::gram`] that full-weight policies have part
    /// in. `base` gives the base's tensor of a name, row-major. Reads every tensor of the base and of these policies
    /// once; a pool of LoRA policies alone has nothing to do.
    ///
    /// # Errors
    /// When a mapped file was changed in place, or a policy does not fit the base. A tensor that `base` does not have
    /// leaves the entries NaN.
    pub fn measure(&mut self, mut base: impl FnMut(&str) -> Option<Vec<f32>>) -> Result<(), MergeError> {
        let pairs = self.pairs_with_full_policies();
        let mut sums = vec![0.0; pairs.len()];
        for (name, shape) in self.tensors_of_full_policies() {
            let Some(base) = base(&name) else { return Ok(()) };
            add_tensor(&self.policies, &pairs, &mut sums, (&name, &shape), &base)?;
        }
        for ((i, j), sum) in pairs.into_iter().zip(sums) {
            self.gram[i][j] = sum;
            self.gram[j][i] = sum;
        }
        Ok(())
    }

    fn pairs_with_full_policies(&self) -> Vec<(usize, usize)> {
        let is_full = |i: usize| self.policies[i].full().is_some();
        let count = self.policies.len();
        let pairs = (0..count).flat_map(|i| (i..count).map(move |j| (i, j)));
        pairs.filter(|(i, j)| is_full(*i) || is_full(*j)).collect()
    }

    fn tensors_of_full_policies(&self) -> BTreeMap<String, Vec<usize>> {
        let tensors = |full: &FullPolicy| {
            let shape = |name: &str| full.shape(name).unwrap_or_default().to_vec();
            full.names().map(|name| (name.to_owned(), shape(name))).collect::<Vec<_>>()
        };
        self.policies.iter().filter_map(Policy::full).flat_map(tensors).collect()
    }
}

fn add_tensor(
    policies: &[Policy],
    pairs: &[(usize, usize)],
    sums: &mut [f64],
    (name, shape): (&str, &[usize]),
    base: &[f32],
) -> Result<(), MergeError> {
    if base.len() != shape.iter().product::<usize>() {
        return Err(MergeError::Shape { name: name.to_owned(), shape: vec![base.len()], found: shape.to_vec() });
    }
    let deltas = policies.iter().map(|policy| Delta::of(policy, name, shape, base)).collect::<Result<Vec<_>, _>>()?;
    let width = shape.last().copied().unwrap_or(1);
    let mut rows = vec![vec![0.0; width]; policies.len()];
    for row in 0..base.len().checked_div(width).unwrap_or(0) {
        for (delta, out) in deltas.iter().zip(&mut rows) {
            if let Some(delta) = delta {
                delta.row(row, out);
            }
        }
        for (sum, (i, j)) in sums.iter_mut().zip(pairs) {
            *sum += rows[*i].iter().zip(&rows[*j]).map(|(x, y)| x * y).sum::<f64>();
        }
    }
    Ok(())
}
