//! The frozen base and its forward.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use tureen_engine::{Checkpoint, ModelConfig};

use super::Delta;
use crate::error::TrainError;
use crate::ops::{Frozen, Rope, compute, frozen_linear, rms_norm, swiglu};

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
            positions,
            rope_theta: config.rope_theta,
            eps: config.rms_norm_eps,
            tied: config.tie_word_embeddings,
        })
    }
}

struct Layer {
    input_norm: Tensor,
    q: Arc<Frozen>,
    k: Arc<Frozen>,
    v: Arc<Frozen>,
    o: Arc<Frozen>,
    mlp_norm: Tensor,
    gate_up: Arc<Frozen>,
    down: Arc<Frozen>,
}

/// The frozen weights, f32 on the CPU. No operation of its forward gives them a gradient.
pub struct Base {
    geometry: Geometry,
    rope: Arc<Rope>,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Arc<Frozen>,
}

impl Base {
    /// Loads the weights by their Hugging Face names through `fetch`.
    ///
    /// # Errors
    /// Whatever `fetch` fails with.
    pub fn load(geometry: Geometry, mut fetch: impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let compute = compute()?;
        let pack = |weight: Tensor| Frozen::pack(&compute, &weight);
        let mut layers = Vec::with_capacity(geometry.layers);
        for index in 0..geometry.layers {
            let mut of = |name: &str| fetch(&format!("model.layers.{index}.{name}.weight"));
            layers.push(Layer {
                input_norm: of("input_layernorm")?,
                q: pack(of("self_attn.q_proj")?)?,
                k: pack(of("self_attn.k_proj")?)?,
                v: pack(of("self_attn.v_proj")?)?,
                o: pack(of("self_attn.o_proj")?)?,
                mlp_norm: of("post_attention_layernorm")?,
                gate_up: pack(Tensor::cat(&[of("mlp.gate_proj")?, of("mlp.up_proj")?], 0)?)?,
                down: pack(of("mlp.down_proj")?)?,
            });
        }
        let embedding = fetch("model.embed_tokens.weight")?;
        let head = pack(if geometry.tied { embedding.clone() } else { fetch("lm_head.weight")? })?;
        let rope = Arc::new(Rope::new(geometry.head_dim, geometry.positions, geometry.rope_theta));
        Ok(Self { norm: fetch("model.norm.weight")?, rope, embedding, layers, head, geometry })
    }

    /// The sizes of the model.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The rotary tables.
    pub fn rope(&self) -> &Arc<Rope> {
        &self.rope
    }

    /// The output head, vocabulary x hidden.
    pub fn head(&self) -> &Arc<Frozen> {
        &self.head
    }

    /// Final hidden states (tokens x hidden, after the last norm) of `tokens` under base + `delta`.
    /// `attend(layer, q, k, v)` does the attention of one layer, over projections of tokens x width.
    ///
    /// # Errors
    /// Tokens outside the vocabulary, or what `attend` fails with.
    pub fn forward(
        &self,
        tokens: &[u32],
        delta: Option<&Delta>,
        mut attend: impl FnMut(usize, &Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let eps = self.geometry.eps;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let h = rms_norm(&x, &layer.input_norm, eps)?;
            let (mut q, mut v) = (frozen_linear(&h, &layer.q)?, frozen_linear(&h, &layer.v)?);
            if let Some(delta) = delta {
                q = (q + delta.apply_q(index, &h)?)?;
                v = (v + delta.apply_v(index, &h)?)?;
            }
            let k = frozen_linear(&h, &layer.k)?;
            let attended = attend(index, &q, &k, &v)?;
            x = (x + frozen_linear(&attended, &layer.o)?)?;
            let h = rms_norm(&x, &layer.mlp_norm, eps)?;
            let h = swiglu(&frozen_linear(&h, &layer.gate_up)?)?;
            x = (x + frozen_linear(&h, &layer.down)?)?;
        }
        rms_norm(&x, &self.norm, eps)
    }
}

/// Tokens that a chat template may add: a system prompt and role marks.
pub(crate) const TEMPLATE: usize = 128;

/// Loads the weights of `checkpoint` for prompts and responses of `longest` tokens together.
///
/// # Errors
/// A base that the trainer cannot train, or weights that cannot be read.
pub fn load_base(checkpoint: &Checkpoint, longest: usize) -> std::result::Result<Base, TrainError> {
    let base = |error: candle_core::Error| TrainError::Base(error.to_string());
    let positions = (TEMPLATE + longest).min(checkpoint.config().max_position_embeddings);
    let geometry = Geometry::of(checkpoint.config(), positions).map_err(base)?;
    Base::load(geometry, |name| checkpoint.tensor(name).map_err(candle_core::Error::wrap)).map_err(base)
}
