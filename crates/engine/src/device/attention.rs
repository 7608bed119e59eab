//! Attention over pages. Rows that decode read keys and values where they are, by kernels of our own. For the rows of a prompt
//! they are gathered once and multiplied, in candle's operations.

use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::cache::Cache;
use super::step::{Span, Step};
use crate::model_config::ModelConfig;

/// What every row sees of its sequence: `queries` (heads, rows, head dimension), rotated, to (rows, heads x head dimension).
pub(super) fn attend(
    config: &ModelConfig,
    cache: &Cache,
    layer: usize,
    step: &Step<'_>,
    queries: &Tensor,
) -> Result<Tensor> {
    let queries = match &step.order {
        Some([order, _]) => queries.index_select(order, 1)?,
        None => queries.clone(),
    };
    let mut parts = Vec::with_capacity(step.spans.len());
    let mut start = 0;
    for span in &step.spans {
        let own = queries.narrow(1, start, span.rows())?.contiguous()?;
        parts.push(attend_span(config, cache, layer, span, &own)?);
        start += span.rows();
    }
    let mixed = if let [part] = &parts[..] { part.clone() } else { Tensor::cat(&parts, 0)? };
    match &step.order {
        Some([_, back]) => mixed.index_select(back, 0),
        None => Ok(mixed),
    }
}

fn attend_span(config: &ModelConfig, cache: &Cache, layer: usize, span: &Span, queries: &Tensor) -> Result<Tensor> {
    let (heads, dim, dtype) = (config.num_key_value_heads, config.head_dim, queries.dtype());
    let scale = 1.0 / (dim as f64).sqrt();
    let (rows, context, slots, mask) = match span {
        Span::Decoding { table, .. } => return tureen_cuda::attend(queries, cache.all(layer), table, scale as f32),
        Span::Several { rows, context, slots, mask } => (*rows, *context, slots, mask),
    };
    let shared = config.num_attention_heads / heads;
    let [keys, values] = cache.read(layer, slots)?;
    // Query heads that share keys stand beside each other: more rows of the same product.
    let queries = queries.reshape((heads, shared * rows, dim))?;
    let scores = (queries.matmul(&keys.t()?)?.to_dtype(DType::F32)? * scale)?;
    let scores = scores.reshape((heads * shared, rows, context))?.broadcast_add(mask)?;
    let shares = softmax_last_dim(&scores)?.to_dtype(dtype)?;
    let mixed = shares.reshape((heads, shared * rows, context))?.matmul(&values)?;
    // (row, head, dimension)
    let mixed = mixed.reshape((heads * shared, rows, dim))?.transpose(0, 1)?.contiguous()?;
    mixed.reshape((rows, heads * shared * dim))
}

/// One row of heads to each head's rows: (rows, heads x head dimension) to (heads, rows, head dimension).
pub(super) fn by_head(x: &Tensor, head_dim: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    x.reshape((rows, width / head_dim, head_dim))?.transpose(0, 1)?.contiguous()
}
