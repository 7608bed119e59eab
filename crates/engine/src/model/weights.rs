//! The parameters of a decoder: LLaMA's layout, with Qwen2's biases where a checkpoint has them.

use std::sync::Arc;

use rayon::prelude::*;
use tureen_kernels::{Panels, Precision};
use tureen_soup::merge::LowRank;

use super::matrix::{Embedding, Matrix};
use crate::device::{DeviceWeights, Target};
use crate::model_config::ModelConfig;

/// The linear layers of one decoder layer, in the order of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Slot {
    pub(crate) const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The module's name in a checkpoint, without `.weight`.
    pub(crate) fn module(self, layer: usize) -> String {
        let part = match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        };
        format!("model.layers.{layer}.{part}")
    }

    /// (out, in)
    pub(crate) fn shape(self, config: &ModelConfig) -> [usize; 2] {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) =
            (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        match self {
            Self::Query => [queries, hidden],
            Self::Key | Self::Value => [keys, hidden],
            Self::Output => [hidden, queries],
            Self::Gate | Self::Up => [inner, hidden],
            Self::Down => [hidden, inner],
        }
    }

    pub(crate) fn has_bias(self, config: &ModelConfig) -> bool {
        config.attention_bias
            && match self {
                Self::Query | Self::Key | Self::Value => true,
                Self::Output => config.architecture == "llama",
                Self::Gate | Self::Up | Self::Down => false,
            }
    }
}

/// One linear layer of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) layer: usize,
    pub(crate) slot: Slot,
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) input_norm: Arc<Vec<f32>>,
    pub(crate) post_attention_norm: Arc<Vec<f32>>,
    linears: [Arc<Matrix>; 7],
}

impl Layer {
    pub(crate) fn linear(&self, slot: Slot) -> &Arc<Matrix> {
        &self.linears[slot as usize]
    }
}

/// All parameters, where they are computed with. Tensors that a soup leaves alone are shared with the base.
#[derive(Debug)]
pub(crate) enum Weights {
    Host(HostWeights),
    Device(DeviceWeights),
}

/// Parameters for the kernels of the CPU.
#[derive(Debug, Clone)]
pub(crate) struct HostWeights {
    pub(crate) embedding: Arc<Embedding>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Arc<Vec<f32>>,
    /// The same values as the embedding where they are tied.
    pub(crate) head: Arc<Matrix>,
}

/// Where tensors come from. `None` leaves one as it is. Shapes were checked against the configuration before.
pub(crate) trait Source: Sync {
    type Error: Send + From<candle_core::Error>;

    /// One tensor by name, f32 row-major.
    fn values(&self, name: &str) -> Result<Option<Vec<f32>>, Self::Error>;

    /// The weights (out, in) of one linear layer, packed.
    fn panels(&self, name: &str, layout: Layout<'_>, shape: [usize; 2]) -> Result<Option<Arc<Panels>>, Self::Error> {
        Ok(self.values(name)?.map(|weight| layout.pack(shape, &weight)))
    }

    /// What is added to the weights of a linear layer, where that is known as a product of low rank.
    fn low_rank(&self, _module: &str) -> Result<Option<LowRank>, Self::Error> {
        Ok(None)
    }
}

pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(crate) const HEAD: &str = "lm_head.weight";
pub(crate) const NORM: &str = "model.norm.weight";

/// How the tensors of a model are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) precision: Precision,
    /// The device that computes; `None` is the CPU.
    pub(crate) target: Option<Target<'a>>,
}

impl Layout<'_> {
    /// Bytes that tensors take once they are read, beside a base that has all others.
    pub(crate) fn bytes<'n>(self, tensors: impl Iterator<Item = (&'n str, &'n [usize])>) -> u64 {
        match self.target {
            Some(target) => target.bytes(&tensors.map(|(name, _)| name).collect()),
            None => tensors.map(|(name, shape)| self.bytes_of(name, shape)).sum(),
        }
    }

    fn bytes_of(self, name: &str, shape: &[usize]) -> u64 {
        let panels = |shape: &[usize]| match shape {
            [out, input] => Panels::bytes_of(self.precision, *out, *input),
            _ => shape.iter().product::<usize>() * size_of::<f32>(),
        };
        let table = Embedding::bytes(self.precision, shape.iter().product());
        let bytes = match name {
            EMBEDDING if self.config.tie_word_embeddings => table + panels(shape),
            EMBEDDING => table,
            _ => panels(shape),
        };
        bytes as u64
    }

    pub(crate) fn pack(self, [out, input]: [usize; 2], weight: &[f32]) -> Arc<Panels> {
        Arc::new(Panels::pack(self.precision, out, input, weight))
    }

    fn head_shape(self) -> [usize; 2] {
        [self.config.vocab_size, self.config.hidden_size]
    }
}

impl Weights {
    /// Reads a whole model. Every tensor must be there.
    pub(crate) fn load<S: Source>(layout: Layout<'_>, source: &S) -> Result<Self, S::Error> {
        match layout.target {
            None => HostWeights::read(layout, None, source).map(Self::Host),
            Some(target) => DeviceWeights::read(target, None, source).map(Self::Device),
        }
    }

    /// These parameters with what `source` gives in their place; what it leaves alone stays shared.
    pub(crate) fn derive<S: Source>(&self, layout: Layout<'_>, source: &S) -> Result<Self, S::Error> {
        match (self, layout.target) {
            (Self::Device(old), Some(target)) => DeviceWeights::read(target, Some(old), source).map(Self::Device),
            _ => HostWeights::read(layout, Some(self.host()), source).map(Self::Host),
        }
    }

    /// # Panics
    /// When they are on a device: a model computes in one place.
    pub(crate) fn host(&self) -> &HostWeights {
        match self {
            Self::Host(weights) => weights,
            Self::Device(_) => unreachable!("a model on the CPU has its weights there"),
        }
    }

    /// # Panics
    /// When they are on the CPU.
    pub(crate) fn device(&self) -> &DeviceWeights {
        match self {
            Self::Device(weights) => weights,
            Self::Host(_) => unreachable!("a model on a device has its weights there"),
        }
    }
}

impl HostWeights {
    /// Layers in parallel.
    fn read<S: Source>(layout: Layout<'_>, old: Option<&Self>, source: &S) -> Result<Self, S::Error> {
        let config = layout.config;
        let layer = |index| read_layer(layout, index, old.map(|old| &old.layers[index]), source);
        let layers = (0..config.num_hidden_layers).into_par_iter().map(layer).collect::<Result<_, S::Error>>()?;
        let table = source.values(EMBEDDING)?;
        let head = if config.tie_word_embeddings { None } else { source.values(HEAD)? };
        let head = if config.tie_word_embeddings { table.as_deref() } else { head.as_deref() };
        let head = head.map(|weight| Arc::new(Matrix::new(layout.pack(layout.head_shape(), weight), None)));
        let embedding = table.map(|t| Arc::new(Embedding::new(layout.precision, config.hidden_size, t)));
        Ok(Self {
            embedding: or_old(embedding, old.map(|old| &old.embedding)),
            layers,
            norm: or_old(source.values(NORM)?.map(Arc::new), old.map(|old| &old.norm)),
            head: or_old(head, old.map(|old| &old.head)),
        })
    }
}

fn or_old<T>(new: Option<Arc<T>>, old: Option<&Arc<T>>) -> Arc<T> {
    new.or_else(|| old.cloned()).expect("a model that is read whole has every tensor")
}

fn read_layer<S: Source>(layout: Layout<'_>, index: usize, old: Option<&Layer>, source: &S) -> Result<Layer, S::Error> {
    let norm = |part: &str| {
        let values = source.values(&format!("model.layers.{index}.{part}.weight"))?;
        Ok::<_, S::Error>(values.map(Arc::new))
    };
    let linear =
        |slot: Slot| read_linear(layout, Linear { layer: index, slot }, old.map(|old| old.linear(slot)), source);
    let [query, key, value, output, gate, up, down] = Slot::ALL.map(linear);
    Ok(Layer {
        input_norm: or_old(norm("input_layernorm")?, old.map(|old| &old.input_norm)),
        post_attention_norm: or_old(norm("post_attention_layernorm")?, old.map(|old| &old.post_attention_norm)),
        linears: [query?, key?, value?, output?, gate?, up?, down?],
    })
}

fn read_linear<S: Source>(
    layout: Layout<'_>,
    linear: Linear,
    old: Option<&Arc<Matrix>>,
    source: &S,
) -> Result<Arc<Matrix>, S::Error> {
    let Linear { layer, slot } = linear;
    let module = slot.module(layer);
    let panels = source.panels(&format!("{module}.weight"), layout, slot.shape(layout.config))?;
    let bias = if slot.has_bias(layout.config) { source.values(&format!("{module}.bias"))? } else { None };
    if let (None, None, Some(old)) = (&panels, &bias, old) {
        return Ok(old.clone());
    }
    let bias = bias.or_else(|| old?.bias().map(<[f32]>::to_vec));
    Ok(Arc::new(Matrix::new(or_old(panels, old.map(|old| old.panels())), bias)))
}
