//! Log-probability of chosen tokens, by the rows of the logits.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Packed, slice};
use crate::ops::to_vec;

/// Rows of logits that exist at one time: 64 x 49 152 f32 are 12.6 MB.
const CHUNK: usize = 64;

/// [`crate::ops::token_log_prob`] over shapes that fit.
///
/// # Errors
/// A tensor that is not f32 on the CPU.
pub(in crate::ops) fn token_log_prob(hidden: &Tensor, head: &Arc<Packed>, targets: &[u32]) -> Result<Tensor> {
    hidden.apply_op1(TokenLogProb { head: head.clone(), targets: targets.to_vec() })
}

struct TokenLogProb {
    head: Arc<Packed>,
    targets: Vec<u32>,
}

impl TokenLogProb {
    /// Calls `visit(first row, logits of some rows)` for all rows, in chunks.
    fn chunks(&self, hidden: &[f32], width: usize, mut visit: impl FnMut(usize, &[f32])) {
        for (index, chunk) in hidden.chunks(CHUNK * width).enumerate() {
            visit(index * CHUNK, &self.head.multiply(chunk));
        }
    }
}

/// `log sum exp` of one row.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut lanes = [0f32; 16];
    let chunks = logits.chunks_exact(16);
    let tail: f32 = chunks.remainder().iter().map(|logit| (logit - max).exp()).sum();
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] += (chunk[lane] - max).exp();
        }
    }
    max + (lanes.iter().sum::<f32>() + tail).ln()
}

impl CustomOp1 for TokenLogProb {
    fn name(&self) -> &'static str {
        "token-log-prob"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let vocabulary = self.head.out();
        let mut out = Vec::with_capacity(rows);
        self.chunks(slice(storage, layout)?, width, |first, logits| {
            for (row, logits) in logits.chunks_exact(vocabulary).enumerate() {
                out.push(logits[self.targets[first + row] as usize] - log_sum_exp(logits));
            }
        });
        Ok((CpuStorage::F32(out), rows.into()))
    }

    /// `grad_hidden = grad (onehot(target) - softmax(logits)) W`.
    fn bwd(&self, hidden: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = hidden.dims2()?;
        let vocabulary = self.head.out();
        let grad = to_vec(grad)?;
        let mut grad_hidden = Vec::with_capacity(rows * width);
        self.chunks(&to_vec(hidden)?, width, |first, logits| {
            let mut grad_logits = Vec::with_capacity(logits.len());
            for (row, logits) in logits.chunks_exact(vocabulary).enumerate() {
                let (total, grad) = (log_sum_exp(logits), grad[first + row]);
                let start = grad_logits.len();
                grad_logits.extend(logits.iter().map(|logit| -grad * (logit - total).exp()));
                grad_logits[start + self.targets[first + row] as usize] += grad;
            }
            grad_hidden.extend(self.head.multiply_back(&grad_logits));
        });
        Tensor::from_vec(grad_hidden, hidden.shape(), hidden.device()).map(Some)
    }
}
