//! One decoder layer.

use candle_core::{Result, Tensor};

use super::delta::LayerDelta;
use crate::ops::{Attention, Frozen, frozen_linear, rms_norm, swiglu};
use crate::place::Place;

/// Its frozen weights.
pub(super) struct Layer {
    place: Place,
    /// Added to the mean square in RMS normalisation.
    eps: f64,
    input_norm: Tensor,
    q: Frozen,
    k: Frozen,
    v: Frozen,
    o: Frozen,
    mlp_norm: Tensor,
    gate_up: Frozen,
    down: Frozen,
}

impl Layer {
    /// Brings the weights to `place`. `fetch` gives them by their Hugging Face names within the layer.
    pub(super) fn load(place: &Place, eps: f64, mut fetch: impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let pack = |weight: Tensor| Frozen::new(place, &weight);
        let bring = |weight: Tensor| weight.to_device(place.device());
        Ok(Self {
            place: place.clone(),
            eps,
            input_norm: bring(fetch("input_layernorm")?)?,
            q: pack(fetch("self_attn.q_proj")?)?,
            k: pack(fetch("self_attn.k_proj")?)?,
            v: pack(fetch("self_attn.v_proj")?)?,
            o: pack(fetch("self_attn.o_proj")?)?,
            mlp_norm: bring(fetch("post_attention_layernorm")?)?,
            gate_up: pack(Tensor::cat(&[fetch("mlp.gate_proj")?, fetch("mlp.up_proj")?], 0)?)?,
            down: pack(fetch("mlp.down_proj")?)?,
        })
    }

    /// The residual stream `x` (tokens x hidden) behind the layer, under its weights + `delta`.
    pub(super) fn forward(&self, x: &Tensor, attention: &Attention, delta: Option<&LayerDelta>) -> Result<Tensor> {
        let h = rms_norm(&self.place, x, &self.input_norm, self.eps)?;
        let (mut q, mut v) = (frozen_linear(&h, &self.q)?, frozen_linear(&h, &self.v)?);
        if let Some(delta) = delta {
            q = (q + delta.to_q(&h)?)?;
            v = (v + delta.to_v(&h)?)?;
        }
        let k = frozen_linear(&h, &self.k)?;
        let attended = attention.apply(&q, &k, &v)?;
        let x = (x + frozen_linear(&attended, &self.o)?)?;
        let h = rms_norm(&self.place, &x, &self.mlp_norm, self.eps)?;
        let h = swiglu(&self.place, &frozen_linear(&h, &self.gate_up)?)?;
        x + frozen_linear(&h, &self.down)?
    }
}
