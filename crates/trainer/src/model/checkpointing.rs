//! Gradient checkpointing (Chen et al., arXiv 1604.06174): of a decoder layer the graph keeps the input alone, and the backward
//! computes the inside again.

use std::fmt;
use std::sync::Arc;

use candle_core::{Result, Tensor, Var};

use super::Geometry;
use super::delta::LayerDelta;
use super::layer::Layer;
use crate::ops::{Attention, graft3};

/// Activations of a minibatch, in bytes, up to which they are kept unless a configuration says otherwise: with them, the
/// default base and its minibatches stay under 4 GB.
const KEPT: usize = 3 << 29;

/// Which minibatches are trained with gradient checkpointing. Gradients do not depend on it, but for rounding on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpointing {
    /// All.
    On,
    /// None.
    Off,
    /// Those of more tokens: what would be kept of them is more than 1.5 GiB.
    Above(usize),
}

impl Checkpointing {
    /// What a configuration says; where it says nothing, the size of the activations decides.
    pub fn chosen(chosen: Option<bool>, geometry: &Geometry) -> Self {
        match chosen {
            Some(true) => Self::On,
            Some(false) => Self::Off,
            None => Self::Above(KEPT / geometry.activations()),
        }
    }

    pub(super) fn is_on(self, tokens: usize) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Above(most) => tokens > most,
        }
    }
}

impl fmt::Display for Checkpointing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on, as configured"),
            Self::Off => f.write_str("off, as configured"),
            Self::Above(tokens) => {
                write!(
                    f,
                    "on for minibatches of more than {tokens} tokens, as their activations would take over 1.5 GiB"
                )
            }
        }
    }
}

impl Geometry {
    /// Bytes that the graph of a forward keeps of each token without checkpointing, but for the few of the low rank: in every
    /// layer the residual stream, its norm and a projection to it, twice each; q, its frozen part and its update, and what was
    /// attended to; k, and v like q; gate and up projection, and their SwiGLU.
    pub fn activations(&self) -> usize {
        let (wide, narrow) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        self.layers * (6 * self.hidden + 4 * wide + 4 * narrow + 3 * self.inner) * size_of::<f32>()
    }
}

/// [`Layer::forward`] with nothing of its inside in the graph. The backward through the inside is the one that it would be there,
/// operation by operation.
pub(super) fn recomputed(
    layer: &Arc<Layer>,
    x: &Tensor,
    attention: &Arc<Attention>,
    delta: &LayerDelta,
) -> Result<Tensor> {
    // An operation of candle's has three arguments at most, so q's factors and v's are one.
    let LayerDelta { q: [q_a, q_b], v: [v_a, v_b], scale } = delta;
    let (a, b) = (Tensor::cat(&[q_a, v_a], 0)?, Tensor::cat(&[q_b, v_b], 0)?);
    let (rank, wide, narrow, scale) = (q_a.dim(0)?, q_b.dim(0)?, v_b.dim(0)?, *scale);
    let (layer, attention) = (layer.clone(), attention.clone());
    let forward = move |[x, a, b]: [&Tensor; 3]| {
        let q = [a.narrow(0, 0, rank)?, b.narrow(0, 0, wide)?];
        let v = [a.narrow(0, rank, rank)?, b.narrow(0, wide, narrow)?];
        layer.forward(x, &attention, Some(&LayerDelta { q, v, scale }))
    };
    let arguments = [x, &a, &b].map(Tensor::detach);
    let y = forward(arguments.each_ref())?;
    graft3([x, &a, &b], y, move |grad| {
        let [x, a, b] = arguments.each_ref().map(Var::from_tensor);
        let (x, a, b) = (x?, a?, b?);
        let y = forward([&x, &a, &b])?;
        // The gradient enters as the coefficients of a linear form.
        let grads = (y * grad)?.sum_all()?.backward()?;
        let of = |var: &Var| grads.get(var).map_or_else(|| var.zeros_like(), |grad| Ok(grad.clone()));
        Ok([of(&x)?, of(&a)?, of(&b)?])
    })
}
