//! Averages of full-weight policies on a GPU, which may be many gigabytes: read from their files piece by piece into pinned
//! buffers, while the piece before is summed up, and given back to whoever packs them.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::DType;
use half::bf16;
use tureen_cuda::{Job, SOURCES, Staging};
use tureen_soup::merge::{Average, Source};

use super::merging::MergeFailure;
use crate::checkpoint::{Checkpoint, Encoding, Stored};

/// Smaller tensors are merged on the CPU in less time than it takes to ask a GPU.
const LEAST: usize = 1 << 16;

/// A GPU that averages.
#[derive(Debug)]
pub(crate) struct Accelerator {
    staging: Mutex<Staging>,
    least: usize,
    /// It failed: what is merged from now on is merged on the CPU.
    failed: AtomicBool,
}

impl Accelerator {
    /// Averages tensors for which it pays.
    pub(crate) fn new(staging: Staging) -> Self {
        Self::of_all(staging, LEAST)
    }

    /// Averages tensors of `least` values and more.
    fn of_all(staging: Staging, least: usize) -> Self {
        Self { staging: Mutex::new(staging), least, failed: AtomicBool::new(false) }
    }

    /// Whether a tensor is large enough, and the GPU well.
    pub(super) fn takes(&self, shape: &[usize]) -> bool {
        shape.iter().product::<usize>() >= self.least && !self.failed.load(Ordering::Relaxed)
    }

    /// Computes `average` of tensor `name`, in f32. `None` where the base takes part and is not stored in bf16, and for more
    /// policies than a sum takes. One tensor at a time; callers pack what they got meanwhile.
    ///
    /// # Errors
    /// When a file was changed, and when the GPU fails: it is not asked again then.
    pub(super) fn average(
        &self,
        average: &Average<'_>,
        base: &Checkpoint,
        name: &str,
    ) -> Result<Option<Vec<f32>>, MergeFailure> {
        let terms = &average.terms;
        let with_base = terms.iter().any(|(source, _)| matches!(source, Source::Base));
        let base = with_base.then(|| base.stored(name)).transpose()?;
        if terms.len() > SOURCES || base.as_ref().is_some_and(|stored| !is_plain_bf16(stored)) {
            return Ok(None);
        }
        let length = base_length(base.as_ref()).or_else(|| policy_length(terms, name));
        let Some(length) = length else { return Ok(None) };
        let weights: Vec<f32> = terms.iter().map(|(_, weight)| *weight as f32).collect();
        let job = Job { weights: &weights, toward: true, length };
        let read = |range: Range<usize>, buffers: Vec<&mut [bf16]>| {
            let fill = |source: &Source<'_>, to: &mut [bf16]| match source {
                Source::Base => {
                    let bytes = base.as_ref().map_or(&[][..], |stored| &stored.bytes[2 * range.start..]);
                    to.iter_mut().zip(bytes.as_chunks::<2>().0).for_each(|(to, b)| *to = bf16::from_le_bytes(*b));
                    Ok(())
                }
                Source::Policy(full) => full.copy_bf16(name, range.start, to),
            };
            // One file is read no faster than its disk or one core copies. Not by rayon: while it waits, its threads begin
            // other work, which would come here and wait for itself.
            std::thread::scope(|scope| {
                let sources = buffers.into_iter().zip(terms);
                let threads: Vec<_> = sources.map(|(to, (source, _))| scope.spawn(move || fill(source, to))).collect();
                threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|e| resume_unwind(e)))
            })?;
            Ok::<_, MergeFailure>(())
        };
        let averaged = self.staging.lock().unwrap_or_else(PoisonError::into_inner).sum(&job, read);
        if let Err(MergeFailure::Tensor(error)) = &averaged {
            self.failed.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the GPU failed: soups are merged on the CPU from now on");
        }
        averaged.map(Some)
    }
}

fn is_plain_bf16(stored: &Stored) -> bool {
    matches!(stored.encoding, Encoding::Plain(DType::BF16)) && stored.head.is_none()
}

fn base_length(base: Option<&Stored>) -> Option<usize> {
    base.map(|stored| stored.shape.iter().product())
}

fn policy_length(terms: &[(Source<'_>, f64)], name: &str) -> Option<usize> {
    terms.iter().find_map(|(source, _)| match source {
        Source::Base => None,
        Source::Policy(full) => Some(full.shape(name)?.iter().product()),
    })
}

#[cfg(test)]
mod tests;
