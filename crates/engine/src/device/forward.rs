//! One step of all rows.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope;
use tureen_cuda::{Chosen, VOCABULARY};

use super::Part;
use super::attention::{attend, by_head};
use super::cache::{Cache, Numbers};
use super::fault::Faults;
use super::step::{Run, Step};
use super::weights::{DeviceWeights, Layer, Target};
use crate::kv::SequenceCache;
use crate::model::Batch;
use crate::model_config::ModelConfig;
use crate::options::Fault;

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
    /// Of a twin that is to fail.
    faults: Option<Faults>,
}

impl DeviceModel {
    /// Prepares positions up to `context`, and `pages` of keys and values.
    ///
    /// # Errors
    /// When the vocabulary has more tokens than are chosen from there, and when the device fails.
    pub(crate) fn new(config: ModelConfig, device: Device, dtype: DType, context: usize, pages: usize) -> Result<Self> {
        if config.vocab_size > VOCABULARY {
            bail!("tokens are chosen from {VOCABULARY} at the most; this base has {}", config.vocab_size);
        }
        let frequencies = config.rope_frequencies();
        let angle = |position: usize| frequencies.iter().map(move |f| position as f64 * f);
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..context).flat_map(angle).map(|a| of(a) as f32).collect();
            Tensor::from_vec(values, (context, config.head_dim / 2), &device)?.to_dtype(dtype)
        };
        let rotation = [table(f64::cos)?, table(f64::sin)?];
        let cache = Cache::new(&config, pages, &device, dtype)?;
        Ok(Self { rotation, cache, numbers: Numbers::new(pages), config, device, dtype, faults: None })
    }

    /// The same, which fails on purpose.
    pub(crate) fn failing(self, fault: Fault) -> Self {
        Self { faults: Some(Faults::new(fault)), ..self }
    }

    /// Where tensors go.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { config: &self.config, device: &self.device, dtype: self.dtype }
    }

    /// Pages that nobody holds.
    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// Whether the device still does what it is told, after an error. An error that breaks a context is told by every call
    /// from then on; the second try is for one that was left behind by what was dropped meanwhile.
    pub(crate) fn responds(&self) -> bool {
        let tried = || Tensor::ones(1, DType::F32, &self.device).and_then(|one| one.to_vec1::<f32>()).is_ok();
        !self.faults.as_ref().is_some_and(Faults::is_lost) && (tried() || tried())
    }

    /// Computes a batch: writes to the pages of `caches`, returns what was chosen after the wanted rows, in their order, or
    /// their logits. The only wait for the device is for these: sixteen bytes of each row where it chooses.
    ///
    /// # Errors
    /// When the device fails: what its pages hold is unknown then.
    pub(crate) fn forward(&self, batch: &Batch<'_>, caches: &[&SequenceCache]) -> Result<Found> {
        if let Some(faults) = &self.faults {
            faults.strike()?;
        }
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
            parts.push(normed.matmul(&run.weights.head.t()?)?);
        }
        let logits = match &parts[..] {
            [] => None,
            [logits] => Some(logits.clone()),
            several => Some(Tensor::cat(several, 0)?),
        };
        match (&step.choices, logits) {
            (Some(choices), Some(logits)) => Ok(Found::Chosen(tureen_cuda::choose(&logits, choices)?)),
            (Some(_), None) => Ok(Found::Chosen(Vec::new())),
            (None, Some(logits)) => Ok(Found::All(logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)),
            (None, None) => Ok(Found::All(Vec::new())),
        }
    }
}

/// What comes back from the device.
#[derive(Debug)]
pub(crate) enum Found {
    /// Logits (rows, vocabulary).
    All(Vec<f32>),
    /// A token for each of the rows.
    Chosen(Vec<Chosen>),
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
