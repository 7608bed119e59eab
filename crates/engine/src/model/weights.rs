//! The parameters of a decoder: LLaMA's layout, with Qwen2's biases where a checkpoint has them.

use std::sync::Arc;

use rayon::prelude::*;

use super::matrix::Matrix;
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
    fn shape(self, config: &ModelConfig) -> [usize; 2] {
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

    fn has_bias(self, config: &ModelConfig) -> bool {
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

/// All parameters. Tensors that a soup leaves alone are shared with the base.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub(crate) embedding: Arc<Matrix>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Arc<Vec<f32>>,
    /// The embedding itself where they are tied.
    pub(crate) head: Arc<Matrix>,
}

/// Reads one tensor by name, f32 row-major. Its shape was checked against the configuration before.
pub(crate) trait Source<E>: Fn(&str) -> Result<Vec<f32>, E> + Sync {}

impl<E, F: Fn(&str) -> Result<Vec<f32>, E> + Sync> Source<E> for F {}

/// Changes one tensor given its name, shape and values; `None` leaves it alone.
pub(crate) trait Change<E>: Fn(&str, &[usize], &[f32]) -> Result<Option<Vec<f32>>, E> + Sync {}

impl<E, F: Fn(&str, &[usize], &[f32]) -> Result<Option<Vec<f32>>, E> + Sync> Change<E> for F {}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const NORM: &str = "model.norm.weight";

impl Weights {
    /// Reads a whole model, layers in parallel.
    pub(crate) fn load<E: Send>(config: &ModelConfig, read: &impl Source<E>) -> Result<Self, E> {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let table = |name| read(name).map(|w| Arc::new(Matrix::new(vocabulary, hidden, w, None)));
        let layer = |index| load_layer(config, index, read);
        let layers = (0..config.num_hidden_layers).into_par_iter().map(layer).collect::<Result<_, E>>()?;
        let embedding = table(EMBEDDING)?;
        let head = if config.tie_word_embeddings { embedding.clone() } else { table(HEAD)? };
        Ok(Self { embedding, layers, norm: Arc::new(read(NORM)?), head })
    }

    /// These parameters with `change` applied; what it leaves alone stays shared.
    pub(crate) fn derive<E: Send>(&self, change: &impl Change<E>) -> Result<Self, E> {
        let layer = |(index, layer)| derive_layer(layer, index, change);
        let layers = self.layers.par_iter().enumerate().map(layer).collect::<Result<_, E>>()?;
        let embedding = changed_matrix(&self.embedding, EMBEDDING, None, change)?;
        let tied = Arc::ptr_eq(&self.embedding, &self.head);
        let head = if tied { embedding.clone() } else { changed_matrix(&self.head, HEAD, None, change)? };
        Ok(Self { embedding, layers, norm: changed_vector(&self.norm, NORM, change)?, head })
    }
}

fn norms(index: usize) -> [String; 2] {
    ["input_layernorm", "post_attention_layernorm"].map(|part| format!("model.layers.{index}.{part}.weight"))
}

fn load_layer<E>(config: &ModelConfig, index: usize, read: &impl Source<E>) -> Result<Layer, E> {
    let [input, post] = norms(index);
    let linear = |slot: Slot| {
        let (module, [out, input]) = (slot.module(index), slot.shape(config));
        let weight = read(&format!("{module}.weight"))?;
        let bias = slot.has_bias(config).then(|| read(&format!("{module}.bias"))).transpose()?;
        Ok(Arc::new(Matrix::new(out, input, weight, bias)))
    };
    let [query, key, value, output, gate, up, down] = Slot::ALL.map(linear);
    Ok(Layer {
        input_norm: Arc::new(read(&input)?),
        post_attention_norm: Arc::new(read(&post)?),
        linears: [query?, key?, value?, output?, gate?, up?, down?],
    })
}

fn derive_layer<E>(layer: &Layer, index: usize, change: &impl Change<E>) -> Result<Layer, E> {
    let [input, post] = norms(index);
    let linear = |slot: Slot| {
        let module = slot.module(index);
        changed_matrix(layer.linear(slot), &format!("{module}.weight"), Some(&format!("{module}.bias")), change)
    };
    let [query, key, value, output, gate, up, down] = Slot::ALL.map(linear);
    Ok(Layer {
        input_norm: changed_vector(&layer.input_norm, &input, change)?,
        post_attention_norm: changed_vector(&layer.post_attention_norm, &post, change)?,
        linears: [query?, key?, value?, output?, gate?, up?, down?],
    })
}

fn changed_vector<E>(old: &Arc<Vec<f32>>, name: &str, change: &impl Change<E>) -> Result<Arc<Vec<f32>>, E> {
    Ok(change(name, &[old.len()], old)?.map_or_else(|| old.clone(), Arc::new))
}

fn changed_matrix<E>(
    old: &Arc<Matrix>,
    weight_name: &str,
    bias_name: Option<&str>,
    change: &impl Change<E>,
) -> Result<Arc<Matrix>, E> {
    let weight = change(weight_name, &[old.out(), old.input()], old.weight())?;
    let bias = match (bias_name, old.bias()) {
        (Some(name), Some(values)) => change(name, &[values.len()], values)?,
        _ => None,
    };
    if weight.is_none() && bias.is_none() {
        return Ok(old.clone());
    }
    let weight = weight.unwrap_or_else(|| old.weight().to_vec());
    let bias = bias.or_else(|| old.bias().map(<[f32]>::to_vec));
    Ok(Arc::new(Matrix::new(old.out(), old.input(), weight, bias)))
}
