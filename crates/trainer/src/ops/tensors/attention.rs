//! Causal grouped-query attention over a packed minibatch, RoPE included, block by block.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use candle_nn::rotary_emb::rope_thd;

use super::blocks::Block;
use super::graft3;
use super::heads::Heads;
use crate::model::Packing;
use crate::ops::Rope;

/// [`crate::ops::Attention::apply`] over shapes that fit the packing.
pub(in crate::ops) fn attention([q, k, v]: [&Tensor; 3], prepared: &Arc<Prepared>) -> Result<Tensor> {
    let (prepared, inputs) = (prepared.clone(), [q, k, v].map(Tensor::detach));
    let rotated = move |prepared: &Prepared| {
        let [q, k, v] = &inputs;
        Ok::<_, candle_core::Error>([prepared.rotate(q)?, prepared.rotate(k)?, v.clone()])
    };
    let result = prepared.forward(rotated(&prepared)?.each_ref())?;
    graft3([q, k, v], result, move |grad| {
        let [q, k, v] = prepared.backward(rotated(&prepared)?.each_ref(), grad)?;
        Ok([prepared.rotate_back(&q)?, prepared.rotate_back(&k)?, v])
    })
}

/// What the attention of one minibatch needs on its device.
pub(in crate::ops) struct Prepared {
    blocks: Vec<Block>,
    /// (tokens, dim / 2), at each token's own position.
    cos: Tensor,
    sin: Tensor,
    /// Width of a head.
    dim: usize,
}

impl Prepared {
    /// Uploads what `packing` and `rope` say.
    ///
    /// # Errors
    /// A device that fails.
    pub(in crate::ops) fn new(packing: &Packing, rope: &Rope, device: &Device) -> Result<Self> {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for token in 0..packing.tokens() {
            let (cos_row, sin_row) = rope.at(packing.position(token));
            cos.extend_from_slice(cos_row);
            sin.extend_from_slice(sin_row);
        }
        let dim = rope.head_dim();
        let table = |of: Vec<f32>| Tensor::from_vec(of, (packing.tokens(), dim / 2), device);
        Ok(Self { blocks: Block::all(packing, device)?, cos: table(cos)?, sin: table(sin)?, dim })
    }

    /// Turns every head of `x` (tokens, heads * dim) to its token's position.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        self.turn(x, &self.sin)
    }

    /// The inverse of [`Prepared::rotate`], which is also its transpose and so its backward.
    fn rotate_back(&self, x: &Tensor) -> Result<Tensor> {
        self.turn(x, &self.sin.neg()?)
    }

    fn turn(&self, x: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let heads = x.reshape((1, tokens, width / self.dim, self.dim))?;
        rope_thd(&heads, &self.cos, sin)?.reshape((tokens, width))
    }

    /// The attention of rotated `q` and `k`, and `v`.
    fn forward(&self, qkv: [&Tensor; 3]) -> Result<Tensor> {
        let parts = self
            .blocks
            .iter()
            .map(|block| Heads::of(block, qkv, self.dim)?.forward(block)?.index_select(&block.own, 0));
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// The gradients of rotated `q` and `k`, and of `v`, for `grad`, that of the result.
    fn backward(&self, qkv: [&Tensor; 3], grad: &Tensor) -> Result<[Tensor; 3]> {
        let mut parts = [const { Vec::new() }; 3];
        for block in &self.blocks {
            let [q, k, v] = Heads::of(block, qkv, self.dim)?.backward(block, grad)?;
            parts[0].push(q.index_select(&block.own, 0)?);
            for (parts, of) in parts[1..].iter_mut().zip([k, v]) {
                parts.push(block.own_keys(&of)?.index_select(&block.own, 0)?);
                if block.shared > 0 {
                    // The prefix is the first block.
                    parts[0] = (&parts[0] + block.shared_keys(&of)?)?;
                }
            }
        }
        let [q, k, v] = parts.map(|parts| Tensor::cat(&parts, 0));
        Ok([q?, k?, v?])
    }
}
