//! The forward pass. Rows are tokens: one of each decoding sequence, several of one that is prefilled.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::gate::{GateScratch, Gates, Mix};
use super::kv::KvCache;
use super::matrix::Matrix;
use super::rope::Rope;
use super::weights::{Linear, Slot, Weights};
use crate::kernels::{Cached, Isa, add, silu_mul};
use crate::model_config::ModelConfig;

/// The architecture and what does not depend on a soup.
#[derive(Debug)]
pub(crate) struct Model {
    config: ModelConfig,
    isa: Isa,
    rope: Rope,
}

/// One token to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) token: u32,
    pub(crate) position: usize,
    /// Index of its sequence's cache.
    pub(crate) cache: usize,
    /// Whether the logits after it are wanted.
    pub(crate) logits: bool,
}

/// Neighbouring rows that share their parameters.
pub(crate) struct Group {
    pub(crate) rows: Range<usize>,
    pub(crate) weights: Arc<Weights>,
    /// The stacked policies and one mix for each row; `None` for rows of the base or of merged weights.
    pub(crate) gates: Option<(Arc<Gates>, Vec<Arc<Mix>>)>,
}

/// What one step computes. The groups cover the rows in order.
pub(crate) struct Batch<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) groups: &'a [Group],
}

/// Buffers reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    mixed: Vec<f32>,
    projected: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    logits: Vec<f32>,
    soup: GateScratch,
}

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Model {
    /// Prepares positions up to `context`.
    pub(crate) fn new(config: ModelConfig, isa: Isa, context: usize) -> Self {
        let rope = Rope::new(&config, context);
        Self { config, isa, rope }
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Elements of one position's keys in one layer.
    pub(crate) fn kv_width(&self) -> usize {
        self.config.num_key_value_heads * self.config.head_dim
    }

    /// Computes a batch: appends to the caches, returns the logits (wanted rows, vocabulary) in the order of the rows.
    ///
    /// Rows of one sequence stand in the order of their positions.
    pub(crate) fn forward<'s>(&self, batch: &Batch<'_>, caches: &mut [&mut KvCache], s: &'s mut Scratch) -> &'s [f32] {
        let Batch { rows, groups } = *batch;
        let hidden = self.config.hidden_size;
        reset(&mut s.hidden, rows.len() * hidden);
        for group in groups {
            for row in group.rows.clone() {
                let embedding = group.weights.embedding.row(rows[row].token as usize);
                s.hidden[row * hidden..][..hidden].copy_from_slice(embedding);
            }
        }
        for layer in 0..self.config.num_hidden_layers {
            self.attention(layer, batch, caches, s);
            self.feed_forward(layer, batch, s);
        }
        self.logits(batch, s);
        &s.logits
    }

    fn attention(&self, layer: usize, batch: &Batch<'_>, caches: &mut [&mut KvCache], s: &mut Scratch) {
        let rows = batch.rows;
        let (heads, d, width) = (self.config.num_attention_heads, self.config.head_dim, self.kv_width());
        self.norm(batch.groups, |w| &w.layers[layer].input_norm, &s.hidden, &mut s.normed);
        self.linear(Linear { layer, slot: Slot::Query }, batch, &s.normed, &mut s.query, &mut s.soup);
        self.linear(Linear { layer, slot: Slot::Key }, batch, &s.normed, &mut s.key, &mut s.soup);
        self.linear(Linear { layer, slot: Slot::Value }, batch, &s.normed, &mut s.value, &mut s.soup);
        for (i, row) in rows.iter().enumerate() {
            self.rope.rotate(&mut s.query[i * heads * d..][..heads * d], row.position);
            let key = &mut s.key[i * width..][..width];
            self.rope.rotate(key, row.position);
            caches[row.cache].push(layer, key, &s.value[i * width..][..width]);
        }
        reset(&mut s.mixed, rows.len() * heads * d);
        let caches: Vec<&KvCache> = caches.iter().map(|c| &**c).collect();
        let query = &s.query;
        s.mixed.par_chunks_exact_mut(d).with_min_len(heads).enumerate().for_each(|(i, out)| {
            let (row, head) = (rows[i / heads], i % heads);
            let cache = &caches[row.cache].layers[layer];
            // Grouped-query attention: `heads / kv_heads` neighbours share keys and values.
            let start = head / (heads / self.config.num_key_value_heads) * d;
            let kv = Cached {
                keys: &cache.keys[start..],
                values: &cache.values[start..],
                stride: width,
                len: row.position + 1,
            };
            SCORES.with_borrow_mut(|scores| self.isa.attend(&query[i * d..][..d], kv, scores, out));
        });
        self.linear(Linear { layer, slot: Slot::Output }, batch, &s.mixed, &mut s.projected, &mut s.soup);
        add(&mut s.hidden, &s.projected);
    }

    fn feed_forward(&self, layer: usize, batch: &Batch<'_>, s: &mut Scratch) {
        self.norm(batch.groups, |w| &w.layers[layer].post_attention_norm, &s.hidden, &mut s.normed);
        self.linear(Linear { layer, slot: Slot::Gate }, batch, &s.normed, &mut s.gate, &mut s.soup);
        self.linear(Linear { layer, slot: Slot::Up }, batch, &s.normed, &mut s.up, &mut s.soup);
        let inner = self.config.intermediate_size;
        s.gate.par_chunks_exact_mut(inner).zip(s.up.par_chunks_exact(inner)).for_each(|(gate, up)| silu_mul(gate, up));
        self.linear(Linear { layer, slot: Slot::Down }, batch, &s.gate, &mut s.projected, &mut s.soup);
        add(&mut s.hidden, &s.projected);
    }

    /// Final norm and head, for the rows whose logits are wanted.
    fn logits(&self, batch: &Batch<'_>, s: &mut Scratch) {
        let (hidden, vocabulary) = (self.config.hidden_size, self.config.vocab_size);
        let wanted = batch.rows.iter().filter(|r| r.logits).count();
        self.norm(batch.groups, |w| &w.norm, &s.hidden, &mut s.normed);
        reset(&mut s.projected, wanted * hidden);
        reset(&mut s.logits, wanted * vocabulary);
        let (mut input, mut output) = (&mut s.projected[..], &mut s.logits[..]);
        for (rows, matrix) in runs(batch.groups, |w| &w.head) {
            let picked = rows.filter(|row| batch.rows[*row].logits);
            let mut count = 0;
            for row in picked {
                input[count * hidden..][..hidden].copy_from_slice(&s.normed[row * hidden..][..hidden]);
                count += 1;
            }
            let (x, rest) = input.split_at_mut(count * hidden);
            let (y, rows_left) = output.split_at_mut(count * vocabulary);
            matrix.apply(self.isa, x, y);
            (input, output) = (rest, rows_left);
        }
    }

    fn norm(&self, groups: &[Group], weight: impl Fn(&Weights) -> &Arc<Vec<f32>>, x: &[f32], out: &mut Vec<f32>) {
        let (hidden, eps) = (self.config.hidden_size, self.config.rms_norm_eps as f32);
        reset(out, x.len());
        for group in groups {
            let range = group.rows.start * hidden..group.rows.end * hidden;
            self.isa.rms_norm(&x[range.clone()], weight(&group.weights), eps, &mut out[range]);
        }
    }

    /// One linear layer for all rows: one product for each run of groups with the same matrix, then the gates.
    fn linear(&self, linear: Linear, batch: &Batch<'_>, x: &[f32], y: &mut Vec<f32>, scratch: &mut GateScratch) {
        let Linear { layer, slot } = linear;
        let first = batch.groups.first().map(|g| g.weights.layers[layer].linear(slot));
        let Some((input, out)) = first.map(|m| (m.input(), m.out())) else { return };
        reset(y, batch.rows.len() * out);
        for (rows, matrix) in runs(batch.groups, |w| w.layers[layer].linear(slot)) {
            let (x, y) = (&x[rows.start * input..rows.end * input], &mut y[rows.start * out..rows.end * out]);
            matrix.apply(self.isa, x, y);
        }
        for group in batch.groups {
            let Some((gates, mixes)) = &group.gates else { continue };
            let rows = &group.rows;
            let (x, y) = (&x[rows.start * input..rows.end * input], &mut y[rows.start * out..rows.end * out]);
            gates.accumulate(linear, mixes, x, y, scratch);
        }
    }
}

/// Neighbouring groups that share one matrix: a soup leaves most of them to the base.
fn runs<'a>(groups: &'a [Group], matrix: impl Fn(&'a Weights) -> &'a Arc<Matrix>) -> Vec<(Range<usize>, &'a Matrix)> {
    let mut runs: Vec<(Range<usize>, &Arc<Matrix>)> = Vec::new();
    for group in groups {
        let own = matrix(&group.weights);
        match runs.last_mut() {
            Some((rows, shared)) if Arc::ptr_eq(shared, own) => rows.end = group.rows.end,
            _ => runs.push((group.rows.clone(), own)),
        }
    }
    runs.into_iter().map(|(rows, matrix)| (rows, &**matrix)).collect()
}

/// Makes room for `len` values that will all be written.
fn reset(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}
