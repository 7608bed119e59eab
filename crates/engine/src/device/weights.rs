//! Parameters as the device reads them.

use std::collections::HashSet;

use candle_core::{DType, Device, Tensor};

use super::Part;
use crate::model::weights::{EMBEDDING, HEAD, NORM, Slot, Source};
use crate::model_config::ModelConfig;
use crate::options::EngineOptions;

/// A packed linear layer.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// (out, in)
    pub(super) weight: Tensor,
    /// (out), zero where only a part of it has one.
    pub(super) bias: Option<Tensor>,
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// (hidden) f32, as the other one.
    pub(super) input_norm: Tensor,
    pub(super) post_attention_norm: Tensor,
    pub(super) projections: [Projection; 4],
}

/// All parameters. Tensors that a soup leaves alone are shared with the base.
#[derive(Debug, Clone)]
pub(crate) struct DeviceWeights {
    /// (vocabulary, hidden)
    pub(super) embedding: Tensor,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor,
    /// (vocabulary, hidden); the embedding where they are tied.
    pub(super) head: Tensor,
}

/// How tensors get to the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) device: &'a Device,
    /// Of everything but norms, which are f32.
    pub(crate) dtype: DType,
}

impl Target<'_> {
    fn tensor(self, values: Vec<f32>, shape: &[usize], dtype: DType) -> candle_core::Result<Tensor> {
        // Rounded there: what is uploaded is f32.
        Tensor::from_vec(values, shape, self.device)?.to_dtype(dtype)
    }

    /// Bytes of a step's inside, at most: the keys and values of one prompt, gathered, a layer's scores, and logits.
    pub(crate) fn step_bytes(self, options: &EngineOptions) -> u64 {
        let (config, size) = (self.config, self.dtype.size_in_bytes());
        let (rows, context) = (options.max_batch_rows, options.max_context);
        let gathered = 2 * context * config.num_key_value_heads * config.head_dim * size;
        // In f32, masked and as shares; a prompt alone takes up to four chunks in a step.
        let scored = 4 * config.num_attention_heads * rows.max(4 * options.prefill_chunk) * context * size_of::<f32>();
        // As computed, those of several soups beside each other, and with what biases and penalties change; of a step, or of
        // a text that is scored.
        let logits = 3 * rows.max(options.prefill_chunk) * config.vocab_size * size_of::<f32>();
        (gathered + scored + logits) as u64
    }

    /// Bytes of what is read anew when tensors of these names change: of packed layers all of them.
    pub(crate) fn bytes(self, names: &HashSet<&str>) -> u64 {
        let config = self.config;
        let (hidden, table) = (config.hidden_size, config.vocab_size * config.hidden_size);
        let norm = |name: &str| usize::from(names.contains(name)) * hidden * size_of::<f32>();
        let mut tables = usize::from(names.contains(EMBEDDING));
        tables += usize::from(names.contains(HEAD) && !config.tie_word_embeddings);
        let mut bytes = tables * table * self.dtype.size_in_bytes() + norm(NORM);
        for layer in 0..config.num_hidden_layers {
            let named = |part: &str| format!("model.layers.{layer}.{part}.weight");
            bytes += norm(&named("input_layernorm")) + norm(&named("post_attention_layernorm"));
            for part in Part::ALL {
                let touched = |slot: &Slot| {
                    let module = slot.module(layer);
                    ["weight", "bias"].iter().any(|kind| names.contains(&*format!("{module}.{kind}")))
                };
                if part.slots().iter().any(touched) {
                    let values = |slot: &Slot| slot.shape(config).iter().product::<usize>() + slot.shape(config)[0];
                    bytes += part.slots().iter().map(values).sum::<usize>() * self.dtype.size_in_bytes();
                }
            }
        }
        bytes as u64
    }
}

impl DeviceWeights {
    /// Reads a whole model, or with `old` what `source` gives in place of it.
    pub(crate) fn read<S: Source>(target: Target<'_>, old: Option<&Self>, source: &S) -> Result<Self, S::Error> {
        let config = target.config;
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let table = |name: &str, old: Option<&Tensor>| match source.values(name)? {
            Some(values) => Ok(target.tensor(values, &[vocabulary, hidden], target.dtype)?),
            None => Ok::<_, S::Error>(kept(old)),
        };
        let embedding = table(EMBEDDING, old.map(|old| &old.embedding))?;
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => table(HEAD, old.map(|old| &old.head))?,
        };
        let norm = read_norm(target, NORM, old.map(|old| &old.norm), source)?;
        let layer = |index| read_layer(target, index, old.map(|old: &Self| &old.layers[index]), source);
        let layers = (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self { embedding, layers, norm, head })
    }
}

fn kept<T: Clone>(old: Option<&T>) -> T {
    old.cloned().expect("a model that is read whole has every tensor")
}

fn read_norm<S: Source>(target: Target<'_>, name: &str, old: Option<&Tensor>, source: &S) -> Result<Tensor, S::Error> {
    Ok(match source.values(name)? {
        Some(values) => target.tensor(values, &[target.config.hidden_size], DType::F32)?,
        None => kept(old),
    })
}

fn read_layer<S: Source>(target: Target<'_>, index: usize, old: Option<&Layer>, source: &S) -> Result<Layer, S::Error> {
    let name = |part: &str| format!("model.layers.{index}.{part}.weight");
    let input_norm = read_norm(target, &name("input_layernorm"), old.map(|old| &old.input_norm), source)?;
    let post_attention_norm =
        read_norm(target, &name("post_attention_layernorm"), old.map(|old| &old.post_attention_norm), source)?;
    let projection =
        |part: Part| read_projection(target, (index, part), old.map(|old| &old.projections[part as usize]), source);
    let [qkv, output, gate_up, down] = Part::ALL.map(projection);
    Ok(Layer { input_norm, post_attention_norm, projections: [qkv?, output?, gate_up?, down?] })
}

fn read_projection<S: Source>(
    target: Target<'_>,
    (layer, part): (usize, Part),
    old: Option<&Projection>,
    source: &S,
) -> Result<Projection, S::Error> {
    let (mut weights, mut biases, mut changed, mut start) = (Vec::new(), Vec::new(), false, 0);
    let has_bias = part.slots().iter().any(|slot| slot.has_bias(target.config));
    for slot in part.slots() {
        let (module, [out, input]) = (slot.module(layer), slot.shape(target.config));
        let own = old.map(|old| old.weight.narrow(0, start, out)).transpose()?;
        weights.push(match new_weight(target, &module, [out, input], own.as_ref(), source)? {
            Some(weight) => {
                changed = true;
                weight
            }
            None => kept(own.as_ref()),
        });
        if has_bias {
            let own = old.and_then(|old| old.bias.as_ref()).map(|bias| bias.narrow(0, start, out)).transpose()?;
            biases.push(match new_bias(target, *slot, &module, out, source)? {
                Some(bias) => {
                    changed = true;
                    bias
                }
                None => own.map_or_else(|| Tensor::zeros(out, target.dtype, target.device), Ok)?,
            });
        }
        start += out;
    }
    if let (false, Some(old)) = (changed, old) {
        return Ok(old.clone());
    }
    let bias = if has_bias { Some(Tensor::cat(&biases, 0)?) } else { None };
    Ok(Projection { weight: Tensor::cat(&weights, 0)?, bias })
}

fn new_weight<S: Source>(
    target: Target<'_>,
    module: &str,
    [out, input]: [usize; 2],
    old: Option<&Tensor>,
    source: &S,
) -> Result<Option<Tensor>, S::Error> {
    if let Some(old) = old
        && let Some(change) = source.low_rank(module)?
    {
        // Written where the weights are: the factors are all that is uploaded.
        let b = target.tensor(change.b, &[out, change.rank], target.dtype)?;
        let a = target.tensor(change.a, &[change.rank, input], target.dtype)?;
        return Ok(Some(tureen_cuda::fold(old, &b, &a)?));
    }
    let values = source.values(&format!("{module}.weight"))?;
    Ok(values.map(|values| target.tensor(values, &[out, input], target.dtype)).transpose()?)
}

fn new_bias<S: Source>(
    target: Target<'_>,
    slot: Slot,
    module: &str,
    out: usize,
    source: &S,
) -> Result<Option<Tensor>, S::Error> {
    if !slot.has_bias(target.config) {
        return Ok(None);
    }
    let values = source.values(&format!("{module}.bias"))?;
    Ok(values.map(|values| target.tensor(values, &[out], target.dtype)).transpose()?)
}
