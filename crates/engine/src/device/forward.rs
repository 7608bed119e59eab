//! One step of all rows.

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope;
use tureen_kernels::Likelihood;

use super::Part;
use super::attention::{attend, by_head};
use super::cache::{Cache, Numbers};
use super::step::{Run, Step};
use super::weights::{DeviceWeights, Layer, Target};
use crate::kv::SequenceCache;
use crate::model::Batch;
use crate::model_config::ModelConfig;

/// The architecture on a device, with the keys and values of all sequences.
#[derive(Debug)]
pub(crate) struct DeviceModel {
    config: ModelConfig,
    device: Device,
    dtype: DType,
    /// (positions, half of a head), cosines and sines.
    rotation: [Tensor; 2],
    cache: Cache,
    numbers: Arc<Numbers>,
}

impl DeviceModel {
    /// Prepares positions up to `context`, and `pages` of keys and values.
    pub(crate) fn new(config: ModelConfig, device: Device, dtype: DType, context: usize, pages: usize) -> Result<Self> {
        let frequencies = config.rope_frequencies();
        let angle = |position: usize| frequencies.iter().map(move |f| position as f64 * f);
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..context).flat_map(angle).map(|a| of(a) as f32).collect();
            Tensor::from_vec(values, (context, config.head_dim / 2), &device)?.to_dtype(dtype)
        };
        let rotation = [table(f64::cos)?, table(f64::sin)?];
        let cache = Cache::new(&config, pages, &device, dtype)?;
        Ok(Self { rotation, cache, numbers: Numbers::new(pages), config, device, dtype })
    }

    /// Where tensors go.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { config: &self.config, device: &self.device, dtype: self.dtype }
    }

    /// Pages that nobody holds.
    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// Whether the device still does what it is told, after an error.
    pub(crate) fn responds(&self) -> bool {
        Tensor::ones(1, DType::F32, &self.device).and_then(|one| one.to_vec1::<f32>()).is_ok()
    }

    /// Computes a batch: writes to the pages of `caches`, returns the logits of the wanted rows, in their order. The only wait
    /// for the device is for these: where the likeliest token is enough for all rows, for sixteen bytes of each.
    ///
    /// # Errors
    /// When the device fails: what its pages hold is unknown then.
    pub(crate) fn forward(&self, batch: &Batch<'_>, caches: &[&SequenceCache]) -> Result<Found> {
        let step = Step::new(batch, caches, &self.device)?;
        let rotation =
            [self.rotation[0].index_select(&step.positions, 0)?, self.rotation[1].index_select(&step.positions, 0)?];
        let embedded =
            |run: &Run<'_>, tokens: &Tensor| run.weights.embedding.index_select(tokens, 0)?.to_dtype(DType::F32);
        let mut hidden = by_run(&step.runs, &step.tokens, embedded)?;
        for layer in 0..self.config.num_hidden_layers {
            let normed = self.norm(&step.runs, &hidden, |weights| &weights.layers[layer].input_norm)?;
            let packed = project(&step.runs, &normed, layer, Part::QueryKeyValue)?;
            let mixed = self.attention(&step, layer, &packed, &rotation)?;
            let mixed = project(&step.runs, &mixed, layer, Part::Output)?;
            hidden = (hidden + mixed.to_dtype(DType::F32)?)?;
            let normed = self.norm(&step.runs, &hidden, |weights| &weights.layers[layer].post_attention_norm)?;
            let inner = tureen_cuda::feed(&project(&step.runs, &normed, layer, Part::GateUp)?)?;
            let down = project(&step.runs, &inner, layer, Part::Down)?;
            hidden = (hidden + down.to_dtype(DType::F32)?)?;
        }
        self.logits(&step, &hidden)
    }

    fn attention(&self, step: &Step<'_>, layer: usize, packed: &Tensor, rotation: &[Tensor; 2]) -> Result<Tensor> {
        let dim = self.config.head_dim;
        let (queries, keys) = (self.config.num_attention_heads * dim, self.config.num_key_value_heads * dim);
        let part = |start, width| by_head(&packed.narrow(1, start, width)?, dim);
        let rotated = |x: Tensor| rope(&x.unsqueeze(0)?, &rotation[0], &rotation[1])?.squeeze(0);
        let (query, key) = (rotated(part(0, queries)?)?, rotated(part(queries, keys)?)?);
        self.cache.store(layer, &step.slots, [&key, &part(queries + keys, keys)?])?;
        attend(&self.config, &self.cache, layer, step, &query)
    }

    fn norm(&self, runs: &[Run<'_>], x: &Tensor, weight: impl Fn(&DeviceWeights) -> &Tensor) -> Result<Tensor> {
        let eps = self.config.rms_norm_eps as f32;
        by_run(runs, x, |run, x| rms_norm(&x.contiguous()?, weight(run.weights), eps)?.to_dtype(self.dtype))
    }

    fn logits(&self, step: &Step<'_>, hidden: &Tensor) -> Result<Found> {
        let mut parts = Vec::new();
        for run in &step.runs {
            let wanted = step.wanted.iter().filter(|row| run.rows.contains(row)).map(|row| *row as u32);
            let wanted: Vec<u32> = wanted.collect();
            if wanted.is_empty() {
                continue;
            }
            let count = wanted.len();
            let rows = hidden.index_select(&Tensor::from_vec(wanted, count, &self.device)?, 0)?;
            let normed = rms_norm(&rows, &run.weights.norm, self.config.rms_norm_eps as f32)?.to_dtype(self.dtype)?;
            let logits = normed.matmul(&run.weights.head.t()?)?.to_dtype(DType::F32)?;
            parts.push(if step.all { logits } else { sum_up(&logits)? });
        }
        let mut found = Found::default();
        if parts.is_empty() {
            return Ok(found);
        }
        let values = Tensor::cat(&parts, 0)?.flatten_all()?.to_vec1::<f32>()?;
        if step.all {
            found.values = values;
        } else {
            let likelihood = |[best, largest, log_total, zero]: &[f32; 4]| Likelihood {
                best: *best as u32,
                largest: *largest,
                log_total: *log_total,
                finite: *zero == 0.0,
            };
            found.summed = values.as_chunks::<4>().0.iter().map(likelihood).collect();
        }
        Ok(found)
    }
}

/// Logits, or what sums them up: one of them is empty.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) values: Vec<f32>,
    pub(crate) summed: Vec<Likelihood>,
}

/// Of each row of (rows, vocabulary), as in [`Likelihood`]: the likeliest token, its logit, the logarithm of the sum, and zero
/// if all are finite; (rows, 4). Numbers of tokens are exact in f32.
fn sum_up(logits: &Tensor) -> Result<Tensor> {
    let largest = logits.max_keepdim(D::Minus1)?;
    let total = logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let best = logits.argmax_keepdim(D::Minus1)?.to_dtype(DType::F32)?;
    // What is infinite, or no number, times zero is no number.
    let zero = (logits * 0.0)?.sum_keepdim(D::Minus1)?;
    Tensor::cat(&[best, largest, total, zero], 1)
}

/// Computes each run's rows of `x` with its own weights.
fn by_run(runs: &[Run<'_>], x: &Tensor, compute: impl Fn(&Run<'_>, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if let [run] = runs {
        return compute(run, x);
    }
    let part = |run: &Run<'_>| compute(run, &x.narrow(0, run.rows.start, run.rows.len())?);
    Tensor::cat(&runs.iter().map(part).collect::<Result<Vec<_>>>()?, 0)
}

/// `y = x Wᵀ + bias`, and each row's soup.
fn project(runs: &[Run<'_>], x: &Tensor, layer: usize, part: Part) -> Result<Tensor> {
    by_run(runs, x, |run, x| {
        let Layer { projections, .. } = &run.weights.layers[layer];
        let projection = &projections[part as usize];
        let mut y = x.matmul(&projection.weight.t()?)?;
        if let Some(bias) = &projection.bias {
            y = y.broadcast_add(bias)?;
        }
        for (gates, mixes) in &run.gates {
            if let Some(stack) = gates.stack(layer, part) {
                let u = stack.ranks.gate(&x.matmul(&stack.a.t()?)?, mixes)?;
                y = (y + u.matmul(&stack.b.t()?)?)?;
            }
        }
        Ok(y)
    })
}
