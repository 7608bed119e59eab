//! The frozen base and its forward.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use tureen_engine::{Checkpoint, DeviceChoice, ModelConfig};

use super::checkpointing::recomputed;
use super::layer::Layer;
use super::{Delta, Packing};
use crate::error::TrainError;
use crate::ops::{Attention, Frozen, Rope, rms_norm};
use crate::place::Place;

/// What the forward needs to know of a checkpoint's configuration.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width within an MLP.
    pub inner: usize,
    /// Longest sequence, in tokens, that the trainer makes tables for.
    pub positions: usize,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Added to the mean square in RMS normalisation.
    pub eps: f64,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

impl Geometry {
    /// The geometry of a LLaMA checkpoint, with tables for `positions` tokens.
    ///
    /// # Errors
    /// Another architecture, attention biases or scaled rotary angles: the trainer has no backward for those.
    pub fn of(config: &ModelConfig, positions: usize) -> Result<Self> {
        if config.architecture != "llama" || config.attention_bias || config.rope_scaling.is_some() {
            bail!("the trainer trains LLaMA checkpoints without attention bias and without rope scaling");
        }
        if positions > config.max_position_embeddings {
            bail!("{positions} positions wanted, the base has {}", config.max_position_embeddings);
        }
        Ok(Self {
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            inner: config.intermediate_size,
            positions,
            rope_theta: config.rope_theta,
            eps: config.rms_norm_eps,
            tied: config.tie_word_embeddings,
        })
    }
}

/// The frozen weights, f32, and the place that they are in. No operation of its forward gives them a gradient.
pub struct Base {
    geometry: Geometry,
    place: Place,
    rope: Arc<Rope>,
    embedding: Tensor,
    layers: Vec<Arc<Layer>>,
    norm: Tensor,
    head: Frozen,
}

impl Base {
    /// Brings the weights to `place`. `fetch` gives them, f32 on the CPU, by their Hugging Face names.
    ///
    /// # Errors
    /// Whatever `fetch` fails with, or a device without the memory.
    pub fn load(place: &Place, geometry: Geometry, mut fetch: impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let bring = |weight: Tensor| weight.to_device(place.device());
        let mut layers = Vec::with_capacity(geometry.layers);
        for index in 0..geometry.layers {
            let fetch = |name: &str| fetch(&format!("model.layers.{index}.{name}.weight"));
            layers.push(Arc::new(Layer::load(place, geometry.eps, fetch)?));
        }
        let embedding = bring(fetch("model.embed_tokens.weight")?)?;
        // Where candle computes, a tied head is the embedding itself, and takes no memory of its own.
        let head = Frozen::new(place, &if geometry.tied { embedding.clone() } else { fetch("lm_head.weight")? })?;
        let rope = Arc::new(Rope::new(geometry.head_dim, geometry.positions, geometry.rope_theta));
        let norm = bring(fetch("model.norm.weight")?)?;
        Ok(Self { geometry, place: place.clone(), rope, embedding, layers, norm, head })
    }

    /// The sizes of the model.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Where it computes.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The output head, vocabulary x hidden.
    pub fn head(&self) -> &Frozen {
        &self.head
    }

    /// Final hidden states (tokens x hidden, after the last norm) of `tokens`, which lie as `packing` says, under
    /// base + `delta`.
    ///
    /// # Errors
    /// Tokens outside the vocabulary, or rows longer than the tables.
    pub fn forward(&self, tokens: &[u32], packing: &Arc<Packing>, delta: Option<&Delta>) -> Result<Tensor> {
        let place = &self.place;
        let vocabulary = self.embedding.dim(0)?;
        // Not every device looks where it reads.
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            bail!("token {token} of a vocabulary of {vocabulary}");
        }
        let attention = Arc::new(Attention::new(place, packing, &self.rope)?);
        let ids = Tensor::from_slice(tokens, tokens.len(), place.device())?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        let checkpointing = delta.is_some_and(|delta| delta.checkpointing.is_on(tokens.len()));
        for (index, layer) in self.layers.iter().enumerate() {
            x = match delta.map(|delta| &delta.layers[index]) {
                Some(delta) if checkpointing => recomputed(layer, &x, &attention, delta)?,
                delta => layer.forward(&x, &attention, delta)?,
            };
        }
        rms_norm(place, &x, &self.norm, self.geometry.eps)
    }
}

/// Tokens that a chat template may add: a system prompt and role marks.
pub(crate) const TEMPLATE: usize = 128;

/// [`load_base_at`] on the CPU.
///
/// # Errors
/// As there.
pub fn load_base(checkpoint: &Checkpoint, longest: usize) -> std::result::Result<Base, TrainError> {
    load_base_at(&Place::open(DeviceChoice::Cpu)?, checkpoint, longest)
}

/// Loads the weights of `checkpoint` to `place`, for prompts and responses of `longest` tokens together.
///
/// # Errors
/// A base that the trainer cannot train, weights that cannot be read, or a device without the memory.
pub fn load_base_at(place: &Place, checkpoint: &Checkpoint, longest: usize) -> std::result::Result<Base, TrainError> {
    let base = |error: candle_core::Error| TrainError::Base(error.to_string());
    let positions = (TEMPLATE + longest).min(checkpoint.config().max_position_embeddings);
    let geometry = Geometry::of(checkpoint.config(), positions).map_err(base)?;
    Base::load(place, geometry, |name| checkpoint.tensor(name).map_err(candle_core::Error::wrap)).map_err(base)
}
