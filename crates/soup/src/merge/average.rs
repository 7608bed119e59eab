//! Soups of full-weight policies as one weighted sum of stored tensors: for a GPU, which computes it in f32.

use super::mean::Mean;
use super::{MergeError, require_same_revision};
use crate::{FullPolicy, Method, Pool, Soup};

/// `x_0 + Σ_k w_k (x_k - x_0)`, the x as they are stored, in bf16.
#[derive(Debug)]
pub struct Average<'a> {
    /// Source and weight. The first one's weight is not used.
    pub terms: Vec<(Source<'a>, f64)>,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The base's own.
    Base,
    /// A policy's.
    Policy(&'a FullPolicy),
}

/// The sum that tensor `name` of `soup` is. `None` when the soup leaves it alone, when it is no such sum, or when a policy
/// holds it in another type than bf16: [`tensor`](super::tensor) merges all of these.
///
/// Around the policy of the largest weight where weights sum to one at strength 1, as `tensor` does: equal policies give
/// that policy, and one alone itself. Around the base in all other cases, with weights times strength.
///
/// # Errors
/// When the soup is of another revision, or a policy's tensor does not have `shape`.
pub fn average<'a>(
    pool: &'a Pool,
    soup: &Soup,
    name: &str,
    shape: &[usize],
) -> Result<Option<Average<'a>>, MergeError> {
    require_same_revision(pool, soup)?;
    if soup.is_base() || !matches!(soup.method(), Method::Exact | Method::Linear) {
        return Ok(None);
    }
    let (mut terms, mut absent) = (Vec::new(), false);
    for (index, weight) in soup.active() {
        let Some(full) = pool.policies()[index].full() else { return Ok(None) };
        match full.shape(name) {
            None => absent = true,
            Some(found) if found != shape => {
                let (name, shape, found) = (name.to_owned(), shape.to_vec(), found.to_vec());
                return Err(MergeError::Shape { name, shape, found });
            }
            Some(_) if !full.is_bf16(name) => return Ok(None),
            Some(_) => terms.push((Source::Policy(full), weight)),
        }
    }
    if terms.is_empty() {
        return Ok(None);
    }
    let mean = Mean::new(terms.iter().map(|(_, weight)| *weight).collect(), soup.options().normalize && !absent);
    if mean.sums_to_one() && soup.strength() == 1.0 {
        let anchor = terms.remove(mean.anchor());
        terms.insert(0, anchor);
    } else {
        terms.iter_mut().for_each(|(_, weight)| *weight *= soup.strength());
        terms.insert(0, (Source::Base, 0.0));
    }
    Ok(Some(Average { terms }))
}
