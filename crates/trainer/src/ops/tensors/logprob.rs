//! Log-probability of chosen tokens.

use candle_core::{Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::graft;

/// Rows of logits that exist at one time: 256 x 49 152 f32 are 50 MB.
const CHUNK: usize = 256;

/// [`crate::ops::token_log_prob`] over shapes that fit.
///
/// The backward is `grad_hidden = grad (W[target] - softmax(logits) W)`.
pub(in crate::ops) fn token_log_prob(hidden: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let rows = Rows {
        hidden: hidden.detach(),
        head: head.clone(),
        targets: Tensor::from_slice(targets, targets.len(), hidden.device())?,
    };
    let log_probs = rows.chunks(|rows| rows.log_probs())?;
    graft(hidden, log_probs, move |grad| rows.chunks_with(grad, |rows, grad| rows.backward(grad)))
}

struct Rows {
    /// (rows, width)
    hidden: Tensor,
    /// (vocabulary, width)
    head: Tensor,
    /// (rows) u32
    targets: Tensor,
}

impl Rows {
    /// What `compute` makes of some rows at a time, one after the other.
    fn chunks(&self, compute: impl Fn(&Self) -> Result<Tensor>) -> Result<Tensor> {
        self.chunks_with(&self.targets, |rows, _| compute(rows))
    }

    /// [`Rows::chunks`], with the same rows of `other`.
    fn chunks_with(&self, other: &Tensor, compute: impl Fn(&Self, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let count = self.hidden.dim(0)?;
        let mut parts = Vec::with_capacity(count.div_ceil(CHUNK));
        for first in (0..count).step_by(CHUNK) {
            let part = |of: &Tensor| of.narrow(0, first, CHUNK.min(count - first));
            let rows = Self { hidden: part(&self.hidden)?, head: self.head.clone(), targets: part(&self.targets)? };
            parts.push(compute(&rows, &part(other)?)?);
        }
        Tensor::cat(&parts, 0)
    }

    /// (rows, vocabulary)
    fn logits(&self) -> Result<Tensor> {
        self.hidden.matmul(&self.head.t()?)
    }

    /// `logits[target] - log sum exp(logits)`, (rows).
    fn log_probs(&self) -> Result<Tensor> {
        let logits = self.logits()?;
        let largest = logits.max_keepdim(1)?;
        let total = (logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()? + largest)?;
        (logits.gather(&self.targets.unsqueeze(1)?, 1)? - total)?.squeeze(1)
    }

    /// The gradient of `hidden` for the gradient (rows) of the log-probabilities.
    fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        let grad = grad.unsqueeze(1)?;
        let expected = softmax_last_dim(&self.logits()?)?.matmul(&self.head)?;
        (self.head.index_select(&self.targets, 0)? - expected)?.broadcast_mul(&grad)
    }
}
