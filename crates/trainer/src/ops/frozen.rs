//! Frozen matrices.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::kernels::Packed;
use crate::place::Place;

/// A frozen matrix (out x in), for products with it and with its transpose. No operation gives it a gradient.
#[derive(Clone, Debug)]
pub struct Frozen(Held);

/// How it is held.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// For the project's kernels: twice, once for each product.
    Packed(Arc<Packed>),
    /// For candle's operations: once, detached, on the device.
    Tensor(Tensor),
}

impl Frozen {
    /// Takes `weight` (out x in, f32) to `place`.
    ///
    /// # Errors
    /// Another type or rank, or a device without the memory.
    pub fn new(place: &Place, weight: &Tensor) -> Result<Self> {
        weight.dims2()?;
        Ok(Self(match place.kernels() {
            Some(compute) => Held::Packed(Packed::new(compute, weight)?),
            None => Held::Tensor(weight.to_device(place.device())?.detach()),
        }))
    }

    pub(super) fn held(&self) -> &Held {
        &self.0
    }

    pub(super) fn out(&self) -> usize {
        match &self.0 {
            Held::Packed(weight) => weight.out(),
            Held::Tensor(weight) => weight.dims()[0],
        }
    }

    pub(super) fn input(&self) -> usize {
        match &self.0 {
            Held::Packed(weight) => weight.input(),
            Held::Tensor(weight) => weight.dims()[1],
        }
    }
}
