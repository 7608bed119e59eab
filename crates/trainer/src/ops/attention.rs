//! Causal grouped-query attention over a packed minibatch, RoPE included.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::{Rope, kernels, tensors};
use crate::model::Packing;
use crate::place::Place;

/// The attention of one forward: made once for its minibatch, applied in every layer.
pub struct Attention {
    packing: Arc<Packing>,
    rope: Arc<Rope>,
    /// What candle's operations need on the device; `None` where the kernels compute.
    prepared: Option<Arc<tensors::Prepared>>,
}

impl Attention {
    /// The attention of rows as they lie in `packing`, with the positions of `rope`.
    ///
    /// # Errors
    /// A row that is longer than the tables of `rope`.
    pub fn new(place: &Place, packing: &Arc<Packing>, rope: &Arc<Rope>) -> Result<Self> {
        if packing.longest() > rope.positions() {
            bail!("packed-attention: a row of {} tokens, {} positions", packing.longest(), rope.positions());
        }
        let prepared = match place.kernels() {
            Some(_) => None,
            None => Some(Arc::new(tensors::Prepared::new(packing, rope, place.device())?)),
        };
        Ok(Self { packing: packing.clone(), rope: rope.clone(), prepared })
    }

    /// `q` (tokens x heads*dim), `k` and `v` (tokens x kv_heads*dim) to tokens x heads*dim:
    /// `softmax(RoPE(q) RoPE(k)^T / sqrt(dim)) v` per head, where a token sees the shared prefix and the earlier tokens of
    /// its own row. The probabilities are not kept: the backward computes them again.
    ///
    /// # Errors
    /// Shapes that do not fit the packing.
    pub fn apply(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let ((tokens, wide), (_, narrow)) = (q.dims2()?, k.dims2()?);
        if tokens != self.packing.tokens() || k.shape() != v.shape() || !wide.is_multiple_of(narrow) {
            bail!("packed-attention: {:?}, {:?} for {} tokens", q.shape(), k.shape(), self.packing.tokens());
        }
        match &self.prepared {
            None => kernels::attention([q, k, v], &self.packing, &self.rope),
            Some(prepared) => tensors::attention([q, k, v], prepared),
        }
    }
}
