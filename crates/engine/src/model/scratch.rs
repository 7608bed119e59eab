//! Buffers of the forward pass, reused from step to step.

use tureen_cuda::Chosen;
use tureen_kernels::{CacheBuffers, Isa, Precision, Rows};

use crate::model_config::ModelConfig;

/// Buffers of the forward pass. They grow to the largest batch and stay.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The residual stream, (rows, hidden).
    pub(super) hidden: Vec<f32>,
    /// What a layer's products read, (rows, hidden).
    pub(super) normed: Rows,
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
    /// Attention's answer, (rows, heads x head dimension).
    pub(super) mixed: Vec<f32>,
    pub(super) mixed_rows: Rows,
    /// The feed-forward network's inside, (rows, intermediate).
    pub(super) inner: Rows,
    pub(super) logits: Vec<f32>,
    /// What a device chose from them.
    pub(super) chosen: Vec<Chosen>,
    /// One for each group of rows and linear layer of a product.
    pub(super) gated: Vec<Gated>,
    pub(super) pages: CacheBuffers,
    pub(super) spans: Vec<Span>,
}

/// `z = x A*ᵀ` of one group of rows, and what `B*ᵀ` is multiplied with.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) z: Vec<f32>,
    pub(super) rows: Rows,
}

/// The rows of one sequence in a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Span {
    pub(super) rows: std::ops::Range<usize>,
    pub(super) position: usize,
}

impl Scratch {
    pub(crate) fn new(isa: Isa, config: &ModelConfig, precision: Precision) -> Self {
        Self {
            hidden: Vec::new(),
            normed: Rows::new(isa, precision, config.hidden_size),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            mixed: Vec::new(),
            mixed_rows: Rows::new(isa, precision, config.num_attention_heads * config.head_dim),
            inner: Rows::new(isa, precision, config.intermediate_size),
            logits: Vec::new(),
            chosen: Vec::new(),
            gated: Vec::new(),
            pages: CacheBuffers::default(),
            spans: Vec::new(),
        }
    }
}

/// Makes room for `len` values that will all be written.
pub(super) fn reset(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}
