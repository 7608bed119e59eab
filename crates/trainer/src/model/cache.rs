//! Keys and values of a batch of sequences that are being sampled, one shared prefix.

use candle_core::{Device, Result, Tensor};

use super::{Base, Packing};
use crate::ops::{axpy, dot, softmax, to_vec};

#[derive(Default, Clone)]
struct Stored {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// Rotated keys and values per layer: those of the prefix once, those of each row after it.
pub(crate) struct Cache {
    prefix: Vec<Stored>,
    /// `rows[layer][row]`.
    rows: Vec<Vec<Stored>>,
    width: usize,
}

impl Cache {
    pub(crate) fn new(base: &Base, rows: usize) -> Self {
        let geometry = base.geometry();
        Self {
            prefix: vec![Stored::default(); geometry.layers],
            rows: vec![vec![Stored::default(); rows]; geometry.layers],
            width: geometry.kv_heads * geometry.head_dim,
        }
    }

    /// Takes the keys and values of a packed prefill into the cache.
    pub(crate) fn fill(&mut self, base: &Base, layer: usize, packing: &Packing, k: &Tensor, v: &Tensor) -> Result<()> {
        let mut keys = to_vec(k)?;
        for (token, key) in keys.chunks_exact_mut(self.width).enumerate() {
            base.rope().rotate(key, packing.position(token));
        }
        let values = to_vec(v)?;
        let cut = |from: usize, to: usize| Stored {
            keys: keys[from * self.width..to * self.width].to_vec(),
            values: values[from * self.width..to * self.width].to_vec(),
        };
        self.prefix[layer] = cut(0, packing.prefix());
        for (row, &start) in packing.starts().iter().enumerate() {
            let end = packing.starts().get(row + 1).copied().unwrap_or(packing.tokens());
            self.rows[layer][row] = cut(start, end);
        }
        Ok(())
    }

    /// Attention of one new token for each row in `active` (`q`: active x heads*dim), which enters the cache.
    pub(crate) fn step(&mut self, base: &Base, layer: usize, active: &[usize], qkv: [&Tensor; 3]) -> Result<Tensor> {
        let (dim, width) = (base.geometry().head_dim, self.width);
        let [mut queries, mut keys, values] = [to_vec(qkv[0])?, to_vec(qkv[1])?, to_vec(qkv[2])?];
        let wide = base.geometry().heads * dim;
        let group = wide / width;
        let scale = 1.0 / (dim as f32).sqrt();
        let prefix = &self.prefix[layer];
        let mut out = vec![0f32; queries.len()];
        let mut scores = Vec::new();
        for (slot, &row) in active.iter().enumerate() {
            let own = &mut self.rows[layer][row];
            let position = (prefix.keys.len() + own.keys.len()) / width;
            let key = &mut keys[slot * width..(slot + 1) * width];
            let query = &mut queries[slot * wide..(slot + 1) * wide];
            base.rope().rotate(key, position);
            base.rope().rotate(query, position);
            own.keys.extend_from_slice(key);
            own.values.extend_from_slice(&values[slot * width..(slot + 1) * width]);
            for head in 0..wide / dim {
                let at = head / group * dim;
                let query = &query[head * dim..(head + 1) * dim];
                let keys = prefix.keys.chunks_exact(width).chain(own.keys.chunks_exact(width));
                scores.clear();
                scores.extend(keys.map(|key| scale * dot(query, &key[at..at + dim])));
                softmax(&mut scores);
                let values = prefix.values.chunks_exact(width).chain(own.values.chunks_exact(width));
                let out = &mut out[slot * wide + head * dim..slot * wide + (head + 1) * dim];
                for (value, &p) in values.zip(&scores) {
                    axpy(out, p, &value[at..at + dim]);
                }
            }
        }
        Tensor::from_vec(out, (active.len(), wide), &Device::Cpu)
    }
}
