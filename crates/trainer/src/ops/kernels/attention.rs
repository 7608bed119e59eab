//! Causal grouped-query attention over a packed minibatch, RoPE included.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::slice;
use crate::model::Packing;
use crate::ops::{Rope, to_vec};

/// [`crate::ops::Attention::apply`] over shapes that fit the packing.
///
/// # Errors
/// Tensors that are not f32 on the CPU.
pub(in crate::ops) fn attention([q, k, v]: [&Tensor; 3], packing: &Arc<Packing>, rope: &Arc<Rope>) -> Result<Tensor> {
    let op = Attention { packing: packing.clone(), rope: rope.clone(), dim: rope.head_dim() };
    q.apply_op3(k, v, op)
}

struct Attention {
    packing: Arc<Packing>,
    rope: Arc<Rope>,
    dim: usize,
}

/// `a . b`, in sixteen lanes so that the compiler may vectorise it; the order of the sum is fixed.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// `y += a x`.
fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Turns scores into probabilities in place.
fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    let inverse = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= inverse);
}

impl Attention {
    fn rotated(&self, mut values: Vec<f32>, width: usize) -> Vec<f32> {
        for (token, row) in values.chunks_exact_mut(width).enumerate() {
            self.rope.rotate(row, self.packing.position(token));
        }
        values
    }

    /// Calls `visit(query offset, keys, key offset within a row of k, probabilities)` for every token and head.
    fn each(
        &self,
        q: &[f32],
        k: &[f32],
        (wide, narrow): (usize, usize),
        mut visit: impl FnMut(usize, &[usize], &[f32]),
    ) {
        let dim = self.dim;
        let group = wide / narrow;
        let scale = 1.0 / (dim as f32).sqrt();
        let mut keys = Vec::new();
        let mut scores = Vec::new();
        for token in 0..self.packing.tokens() {
            for kv_head in 0..narrow / dim {
                keys.clear();
                keys.extend(self.packing.visible(token).map(|key| key * narrow + kv_head * dim));
                for head in kv_head * group..(kv_head + 1) * group {
                    let at = token * wide + head * dim;
                    let query = &q[at..at + dim];
                    scores.clear();
                    scores.extend(keys.iter().map(|&key| scale * dot(query, &k[key..key + dim])));
                    softmax(&mut scores);
                    visit(at, &keys, &scores);
                }
            }
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "packed-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, wide) = q_layout.shape().dims2()?;
        let (_, narrow) = k_layout.shape().dims2()?;
        let q = self.rotated(slice(q, q_layout)?.to_vec(), wide);
        let k = self.rotated(slice(k, k_layout)?.to_vec(), narrow);
        let v = slice(v, v_layout)?;
        let dim = self.dim;
        let mut out = vec![0f32; tokens * wide];
        self.each(&q, &k, (wide, narrow), |at, keys, probabilities| {
            let out = &mut out[at..at + dim];
            for (&key, &p) in keys.iter().zip(probabilities) {
                axpy(out, p, &v[key..key + dim]);
            }
        });
        Ok((CpuStorage::F32(out), (tokens, wide).into()))
    }

    /// `dv = p^T do`; `ds = p . (do v^T - sum(p . do v^T))`; `dq = ds k / sqrt(dim)`; `dk = ds^T q / sqrt(dim)`.
    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (wide, narrow) = (q.dim(1)?, k.dim(1)?);
        let rotated_q = self.rotated(to_vec(q)?, wide);
        let rotated_k = self.rotated(to_vec(k)?, narrow);
        let (values, grad) = (to_vec(v)?, to_vec(grad)?);
        let dim = self.dim;
        let scale = 1.0 / (dim as f32).sqrt();
        let mut grad_q = vec![0f32; rotated_q.len()];
        let mut grad_k = vec![0f32; rotated_k.len()];
        let mut grad_v = vec![0f32; values.len()];
        let mut grad_p = Vec::new();
        self.each(&rotated_q, &rotated_k, (wide, narrow), |at, keys, probabilities| {
            let grad_out = &grad[at..at + dim];
            grad_p.clear();
            grad_p.extend(keys.iter().map(|&key| dot(grad_out, &values[key..key + dim])));
            let mean = dot(&grad_p, probabilities);
            for ((&key, &p), &gp) in keys.iter().zip(probabilities).zip(&grad_p) {
                axpy(&mut grad_v[key..key + dim], p, grad_out);
                let ds = p * (gp - mean) * scale;
                axpy(&mut grad_q[at..at + dim], ds, &rotated_k[key..key + dim]);
                axpy(&mut grad_k[key..key + dim], ds, &rotated_q[at..at + dim]);
            }
        });
        for (grads, width) in [(&mut grad_q, wide), (&mut grad_k, narrow)] {
            for (token, row) in grads.chunks_exact_mut(width).enumerate() {
                self.rope.rotate_back(row, self.packing.position(token));
            }
        }
        let tensor = |grads: Vec<f32>, like: &Tensor| Tensor::from_vec(grads, like.shape(), like.device());
        Ok((Some(tensor(grad_q, q)?), Some(tensor(grad_k, k)?), Some(tensor(grad_v, v)?)))
    }
}
