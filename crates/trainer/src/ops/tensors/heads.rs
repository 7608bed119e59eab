//! Attention within a block, all heads of all rows in one product.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::blocks::Block;

/// Queries, keys and values of a block by head. Query heads that share keys stand on each other: q is
/// (rows * kv_heads, group * length, dim), k and v are (rows * kv_heads, shared + length, dim).
pub(super) struct Heads {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
}

impl Heads {
    /// Those of `block`, out of a minibatch's: q (tokens, heads * dim), k and v (tokens, kv_heads * dim).
    pub(super) fn of(block: &Block, [q, k, v]: [&Tensor; 3], dim: usize) -> Result<Self> {
        let layout = Layout { rows: block.rows, kv_heads: k.dim(1)? / dim, dim };
        let keys = |x: &Tensor| layout.by_head(&x.index_select(&block.keys, 0)?);
        Ok(Self { q: layout.by_head(&q.index_select(&block.queries, 0)?)?, k: keys(k)?, v: keys(v)?, layout })
    }

    /// What the queries see, (rows * length, heads * dim).
    pub(super) fn forward(&self, block: &Block) -> Result<Tensor> {
        self.layout.by_row(&self.probabilities(block)?.matmul(&self.v)?, block.length)
    }

    /// `dv = p^T do`; `ds = p . (do v^T - sum(p . do v^T)) / sqrt(dim)`; `dq = ds k`; `dk = ds^T q`, for `grad` (tokens,
    /// heads * dim) of the minibatch: gradients of the block's queries (rows * length, heads * dim), and of its keys and values
    /// (rows * (shared + length), kv_heads * dim).
    pub(super) fn backward(&self, block: &Block, grad: &Tensor) -> Result<[Tensor; 3]> {
        // What rows are filled up with has no gradient, and so gives none.
        let grad = self.layout.by_head(&grad.index_select(&block.queries, 0)?.broadcast_mul(&block.real)?)?;
        let p = self.probabilities(block)?;
        let grad_v = p.t()?.matmul(&grad)?;
        let grad_p = grad.matmul(&self.v.t()?)?;
        let mean = (&p * &grad_p)?.sum_keepdim(D::Minus1)?;
        let grad_s = ((p * grad_p.broadcast_sub(&mean)?)? * self.layout.scale())?;
        let (grad_q, grad_k) = (grad_s.matmul(&self.k)?, grad_s.t()?.matmul(&self.q)?);
        let keys = |x: &Tensor| self.layout.by_row(x, block.shared + block.length);
        Ok([self.layout.by_row(&grad_q, block.length)?, keys(&grad_k)?, keys(&grad_v)?])
    }

    /// `softmax(q k^T / sqrt(dim) + mask)`, (rows * kv_heads, group * length, shared + length).
    fn probabilities(&self, block: &Block) -> Result<Tensor> {
        let scores = (self.q.matmul(&self.k.t()?)? * self.layout.scale())?;
        let by_query = scores.reshape(((), block.length, block.shared + block.length))?.broadcast_add(&block.mask)?;
        softmax_last_dim(&by_query)?.reshape(scores.shape())
    }
}

/// How values of a block are laid out by row and by head; the number of tokens of a row and of query heads that share keys
/// follow from a tensor's shape.
struct Layout {
    rows: usize,
    kv_heads: usize,
    dim: usize,
}

impl Layout {
    fn scale(&self) -> f64 {
        1.0 / (self.dim as f64).sqrt()
    }

    /// (rows * count, kv_heads * group * dim) to (rows * kv_heads, group * count, dim).
    fn by_head(&self, x: &Tensor) -> Result<Tensor> {
        let &Self { rows, kv_heads, dim } = self;
        let (count, group) = (x.dim(0)? / rows, x.dim(1)? / (kv_heads * dim));
        let x = x.reshape((rows, count, kv_heads, group, dim))?.permute((0, 2, 3, 1, 4))?.contiguous()?;
        x.reshape((rows * kv_heads, group * count, dim))
    }

    /// The inverse of [`Layout::by_head`] for `count` tokens of a row.
    fn by_row(&self, x: &Tensor, count: usize) -> Result<Tensor> {
        let &Self { rows, kv_heads, dim } = self;
        let group = x.dim(1)? / count;
        let x = x.reshape((rows, kv_heads, group, count, dim))?.permute((0, 3, 1, 2, 4))?.contiguous()?;
        x.reshape((rows * count, kv_heads * group * dim))
    }
}
