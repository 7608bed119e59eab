//! The tensors of one soup.

use std::collections::HashSet;
use std::sync::Arc;

use tureen_kernels::{Change, Panels, Precision};
use tureen_soup::merge::{self, LowRank, MergeError};
use tureen_soup::{Pool, Soup};

use super::merger::Materials;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::model::{Layout, Source};

impl Source for Checkpoint {
    type Error = CheckpointError;

    fn values(&self, name: &str) -> Result<Option<Vec<f32>>, CheckpointError> {
        Ok(Some(self.tensor(name)?.flatten_all()?.to_vec1()?))
    }
}

/// What a soup changes, tensor by tensor.
///
/// In f32, and for changes that are not of low rank, a tensor is summed in f64 and rounded once. Where weights are rounded
/// to fewer bits anyway, low-rank changes are folded while the weights are packed, their factors rounded as on the gate path:
/// one pass, many times faster.
/// A device folds them into the weights that it has; a GPU averages full-weight policies, in f32.
pub(super) struct Merging<'a> {
    from: &'a Materials,
    pool: &'a Pool,
    soup: &'a Soup,
    touched: HashSet<String>,
    low_rank: bool,
}

impl<'a> Merging<'a> {
    pub(super) fn new(from: &'a Materials, pool: &'a Pool, soup: &'a Soup) -> Self {
        let rounded = from.model.precision() != Precision::F32 || from.model.device().is_some();
        let low_rank = rounded && merge::is_low_rank(pool, soup);
        let touched = merge::touched(pool, soup).into_iter().collect();
        Self { from, pool, soup, touched, low_rank }
    }
}

impl Merging<'_> {
    /// The tensor averaged on a GPU, where there is one and it pays.
    fn accelerated(&self, name: &str) -> Result<Option<Vec<f32>>, MergeFailure> {
        let (Some(accelerator), Some(shape)) = (&self.from.accelerator, self.from.checkpoint.shape(name)) else {
            return Ok(None);
        };
        if !accelerator.takes(shape) {
            return Ok(None);
        }
        let Some(average) = merge::average(self.pool, self.soup, name, shape)? else { return Ok(None) };
        let Some(values) = accelerator.average(&average, &self.from.checkpoint, name)? else { return Ok(None) };
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Some(values)),
            false => Err(MergeError::NotFinite { name: name.to_owned() }.into()),
        }
    }
}

impl Source for Merging<'_> {
    type Error = MergeFailure;

    fn values(&self, name: &str) -> Result<Option<Vec<f32>>, MergeFailure> {
        if !self.touched.contains(name) {
            return Ok(None);
        }
        if let Some(values) = self.accelerated(name)? {
            return Ok(Some(values));
        }
        let base = self.from.checkpoint.tensor(name)?;
        let values: Vec<f32> = base.flatten_all()?.to_vec1()?;
        let merged = merge::tensor(self.pool, self.soup, name, base.dims(), &values)?;
        Ok(Some(merged.unwrap_or(values)))
    }

    fn panels(&self, name: &str, layout: Layout<'_>, shape: [usize; 2]) -> Result<Option<Arc<Panels>>, MergeFailure> {
        if !self.low_rank {
            return Ok(self.values(name)?.map(|weight| layout.pack(shape, &weight)));
        }
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let Some(LowRank { a, b, .. }) = self.low_rank(module)? else { return Ok(None) };
        let stored = self.from.checkpoint.stored(name)?;
        let rows = |rows| stored.rows(rows);
        let folded = Panels::fold(self.from.isa, layout.precision, shape, rows, Change { a: &a, b: &b })?;
        let folded = folded.ok_or_else(|| MergeError::NotFinite { name: name.to_owned() })?;
        Ok(Some(Arc::new(folded)))
    }

    fn low_rank(&self, module: &str) -> Result<Option<LowRank>, MergeFailure> {
        if !self.low_rank {
            return Ok(None);
        }
        Ok(merge::low_rank(self.pool, self.soup, module)?)
    }
}

/// Why a soup was not merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeFailure {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    #[error(transparent)]
    Merge(#[from] MergeError),
}
