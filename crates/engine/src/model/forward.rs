//! The forward pass. Rows are tokens: one of each decoding sequence, several of one that is prefilled.

use std::ops::Range;
use std::sync::Arc;

use tureen_cuda::{Choices, Chosen};
use tureen_kernels::{CacheBatch, Compute, Isa, PageShape, Precision};

use super::gate::{Gates, Mix};
use super::product::{Wanted, feed, project};
use super::rope::Rope;
use super::scratch::{Scratch, Span, reset};
use super::weights::{Layout, Slot, Weights};
use crate::device::{DeviceModel, Found};
use crate::kv::SequenceCache;
use crate::model_config::ModelConfig;

/// The architecture and what does not depend on a soup.
#[derive(Debug)]
pub(crate) struct Model {
    config: ModelConfig,
    precision: Precision,
    rope: Rope,
    /// The device that computes; `None` is the CPU.
    device: Option<DeviceModel>,
}

/// One token to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) token: u32,
    pub(crate) position: usize,
    /// Index of its sequence's cache.
    pub(crate) cache: usize,
    /// Whether something is wanted of the logits after it.
    pub(crate) wanted: bool,
}

/// What is behind the wanted rows, in their order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Logits<'s> {
    /// (rows, vocabulary)
    All(&'s [f32]),
    /// What a device chose from them: the logits stay there.
    Chosen(&'s [Chosen]),
}

/// Neighbouring rows that share their parameters.
pub(crate) struct Group {
    pub(crate) rows: Range<usize>,
    pub(crate) weights: Arc<Weights>,
    /// The stacked policies; `None` for rows of the base or of merged weights.
    pub(crate) gates: Option<Arc<Gates>>,
}

/// What one step computes. The groups cover the rows in order.
pub(crate) struct Batch<'a> {
    pub(crate) rows: &'a [Row],
    /// For each row, its gate; `None` in groups without.
    pub(crate) mixes: &'a [Option<Arc<Mix>>],
    pub(crate) groups: &'a [Group],
    /// How a device chooses after each wanted row; `None` where all logits are to come back, as they do on the CPU.
    pub(crate) choices: Option<&'a Choices>,
}

impl Model {
    /// Prepares positions up to `context`.
    pub(crate) fn new(config: ModelConfig, precision: Precision, context: usize) -> Self {
        let rope = Rope::new(&config, context);
        Self { config, precision, rope, device: None }
    }

    /// The same, computed by `device`, in `precision`.
    pub(crate) fn on(device: DeviceModel, config: ModelConfig, precision: Precision, context: usize) -> Self {
        Self { device: Some(device), ..Self::new(config, precision, context) }
    }

    /// How parameters are laid out for it.
    pub(crate) fn layout(&self) -> Layout<'_> {
        let target = self.device.as_ref().map(DeviceModel::target);
        Layout { config: &self.config, precision: self.precision, target }
    }

    /// The device that computes; `None` is the CPU.
    pub(crate) fn device(&self) -> Option<&DeviceModel> {
        self.device.as_ref()
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// What a page of the KV cache holds.
    pub(crate) fn page_shape(&self) -> PageShape {
        let c = &self.config;
        PageShape::new(c.num_hidden_layers, c.num_key_value_heads, c.head_dim, self.precision)
    }

    /// Buffers for [`Self::forward`] with `isa`.
    pub(crate) fn scratch(&self, isa: Isa) -> Scratch {
        Scratch::new(isa, &self.config, self.precision)
    }

    /// Computes a batch: writes to the caches, returns the logits of the wanted rows, or what a device chose from them.
    ///
    /// Rows of one sequence are neighbours, in the order of their positions.
    ///
    /// # Errors
    /// When a device fails. The CPU does not.
    pub(crate) fn forward<'s, 'c>(
        &self,
        compute: &Compute,
        batch: &Batch<'_>,
        caches: impl ExactSizeIterator<Item = &'c mut SequenceCache>,
        s: &'s mut Scratch,
    ) -> candle_core::Result<Logits<'s>> {
        match &self.device {
            None => Ok(Logits::All(self.compute(compute, batch, caches, s))),
            Some(device) => {
                let caches: Vec<&SequenceCache> = caches.map(|cache| &*cache).collect();
                match device.forward(batch, &caches)? {
                    Found::All(logits) => s.logits = logits,
                    Found::Chosen(chosen) => {
                        s.chosen = chosen;
                        return Ok(Logits::Chosen(&s.chosen));
                    }
                }
                Ok(Logits::All(&s.logits))
            }
        }
    }

    fn compute<'s, 'c>(
        &self,
        compute: &Compute,
        batch: &Batch<'_>,
        caches: impl ExactSizeIterator<Item = &'c mut SequenceCache>,
        s: &'s mut Scratch,
    ) -> &'s [f32] {
        let hidden = self.config.hidden_size;
        reset(&mut s.hidden, batch.rows.len() * hidden);
        for group in batch.groups {
            for row in group.rows.clone() {
                group.weights.host().embedding.read(batch.rows[row].token, &mut s.hidden[row * hidden..][..hidden]);
            }
        }
        spans(batch.rows, caches.len(), &mut s.spans);
        // Taken out for the time of the step: the pages borrow it, the layers need the rest.
        let mut buffers = std::mem::take(&mut s.pages);
        let mut pages = buffers.begin(self.page_shape());
        for (cache, span) in caches.zip(&s.spans).filter(|(_, span)| !span.rows.is_empty()) {
            cache.push(&mut pages, span.rows.clone(), span.position);
        }
        let step = Step { model: self, compute, batch };
        for layer in 0..self.config.num_hidden_layers {
            step.attention(layer, &mut pages, s);
            step.feed_forward(layer, s);
        }
        s.pages = buffers;
        step.logits(s);
        &s.logits
    }
}

/// The rows of each cache.
fn spans(rows: &[Row], caches: usize, spans: &mut Vec<Span>) {
    spans.clear();
    spans.resize(caches, Span::default());
    for (i, row) in rows.iter().enumerate() {
        let span = &mut spans[row.cache];
        if span.rows.is_empty() {
            *span = Span { rows: i..i, position: row.position };
        }
        span.rows.end = i + 1;
    }
}

/// One pass over one batch.
pub(super) struct Step<'a> {
    pub(super) model: &'a Model,
    pub(super) compute: &'a Compute,
    pub(super) batch: &'a Batch<'a>,
}

impl Step<'_> {
    fn attention(&self, layer: usize, pages: &mut CacheBatch<'_>, s: &mut Scratch) {
        let config = &self.model.config;
        let rows = self.batch.rows.len();
        let (queries, keys) =
            (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        self.norm(|w| &w.layers[layer].input_norm, s);
        reset(&mut s.query, rows * queries);
        reset(&mut s.key, rows * keys);
        reset(&mut s.value, rows * keys);
        let wanted = [
            Wanted { slot: Slot::Query, y: &mut s.query, add: false },
            Wanted { slot: Slot::Key, y: &mut s.key, add: false },
            Wanted { slot: Slot::Value, y: &mut s.value, add: false },
        ];
        project(self, layer, &s.normed, wanted, &mut s.gated);
        let rotation = self.model.rope.rotation();
        self.compute.store(layer, rotation, [&mut s.query, &mut s.key, &mut s.value], pages);
        reset(&mut s.mixed, rows * queries);
        self.compute.attend(layer, &s.query, pages, &mut s.mixed);
        s.mixed_rows.resize(rows);
        self.compute.convert(&s.mixed, &mut s.mixed_rows);
        // Straight into the residual stream.
        let wanted = [Wanted { slot: Slot::Output, y: &mut s.hidden, add: true }];
        project(self, layer, &s.mixed_rows, wanted, &mut s.gated);
    }

    fn feed_forward(&self, layer: usize, s: &mut Scratch) {
        self.norm(|w| &w.layers[layer].post_attention_norm, s);
        s.inner.resize(self.batch.rows.len());
        feed(self, layer, &s.normed, &mut s.inner, &mut s.gated);
        let wanted = [Wanted { slot: Slot::Down, y: &mut s.hidden, add: true }];
        project(self, layer, &s.inner, wanted, &mut s.gated);
    }
}
