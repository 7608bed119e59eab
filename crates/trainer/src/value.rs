//! The value head: a linear map of the final hidden state, zero at first.

use candle_core::{DType, Result, Tensor, Var};

use crate::model::Base;
use crate::ops::{dot, to_vec};

/// `v = h . w + b`.
pub(crate) struct ValueHead {
    weight: Var,
    bias: Var,
}

impl ValueHead {
    pub(crate) fn zero(base: &Base) -> Result<Self> {
        let device = base.place().device();
        let weight = Var::zeros((base.geometry().hidden, 1), DType::F32, device)?;
        Ok(Self { weight, bias: Var::zeros(1, DType::F32, device)? })
    }

    pub(crate) fn variables(&self) -> [(String, Var); 2] {
        [("value_head.weight".into(), self.weight.clone()), ("value_head.bias".into(), self.bias.clone())]
    }

    /// Values of `hidden` (tokens x hidden), with gradients.
    pub(crate) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.matmul(self.weight.as_tensor())?.flatten_all()?.broadcast_add(self.bias.as_tensor())
    }

    /// Values of hidden states that lie row after row in `hidden`, without gradients.
    pub(crate) fn values(&self, hidden: &[f32]) -> Result<Vec<f64>> {
        let (weight, bias) = (to_vec(&self.weight)?, to_vec(&self.bias)?[0]);
        Ok(hidden.chunks_exact(weight.len()).map(|state| f64::from(dot(state, &weight) + bias)).collect())
    }
}
