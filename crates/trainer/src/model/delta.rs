//! Low-rank updates of q_proj and v_proj.

use candle_core::{Result, Tensor};

use super::Checkpointing;

/// Updates `W + scale B A` of q_proj and v_proj of every layer, as one forward uses them.
#[derive(Clone)]
pub struct Delta {
    pub(super) layers: Vec<LayerDelta>,
    /// Whether the backward computes layers again.
    pub(super) checkpointing: Checkpointing,
}

/// Those of one layer.
#[derive(Clone)]
pub(super) struct LayerDelta {
    /// A (r x in) and B (out x r) of q_proj.
    pub(super) q: [Tensor; 2],
    /// The same of v_proj.
    pub(super) v: [Tensor; 2],
    pub(super) scale: f64,
}

impl LayerDelta {
    /// What is added to q for `x` (tokens x in).
    pub(super) fn to_q(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(&self.q, x)
    }

    /// What is added to v for `x` (tokens x in).
    pub(super) fn to_v(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(&self.v, x)
    }

    fn apply(&self, [a, b]: &[Tensor; 2], x: &Tensor) -> Result<Tensor> {
        (x.matmul(&a.t()?)? * self.scale)?.matmul(&b.t()?)
    }
}
