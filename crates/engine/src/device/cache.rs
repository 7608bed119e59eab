//! Keys and values of all sequences: one tensor of each for every layer, and pages that are numbers.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor};
use tureen_kernels::PAGE;

use crate::model_config::ModelConfig;

/// Keys and values, layer by layer.
#[derive(Debug)]
pub(super) struct Cache {
    /// (heads, positions, head dimension), keys and values.
    layers: Vec<[Tensor; 2]>,
}

impl Cache {
    /// Room for `pages`; page 0 is nobody's.
    pub(super) fn new(config: &ModelConfig, pages: usize, device: &Device, dtype: DType) -> Result<Self> {
        let shape = (config.num_key_value_heads, (pages + 1) * PAGE, config.head_dim);
        let zeros = || Tensor::zeros(shape, dtype, device);
        let layer = |_| Ok([zeros()?, zeros()?]);
        Ok(Self { layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()? })
    }

    /// Writes keys and values (heads, rows, head dimension) of a layer to `slots` (rows).
    pub(super) fn store(&self, layer: usize, slots: &Tensor, [keys, values]: [&Tensor; 2]) -> Result<()> {
        tureen_cuda::store(&self.layers[layer][0], keys, slots)?;
        tureen_cuda::store(&self.layers[layer][1], values, slots)
    }

    /// All keys and values of a layer.
    pub(super) fn all(&self, layer: usize) -> [&Tensor; 2] {
        self.layers[layer].each_ref()
    }

    /// Keys and values of a layer at some positions, (heads, positions, head dimension) each.
    pub(super) fn read(&self, layer: usize, slots: &Tensor) -> Result<[Tensor; 2]> {
        let [keys, values] = &self.layers[layer];
        Ok([keys.index_select(slots, 1)?, values.index_select(slots, 1)?])
    }
}

/// Pages that nobody holds.
#[derive(Debug)]
pub(crate) struct Numbers(Mutex<Vec<u32>>);

impl Numbers {
    /// Pages 1 to `pages`.
    pub(super) fn new(pages: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new((1..=pages as u32).rev().collect())))
    }

    /// A page; what was in it is not cleared, as only positions that were written are read.
    pub(crate) fn take(self: &Arc<Self>) -> Option<DevicePage> {
        let number = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(DevicePage { number, numbers: self.clone() })
    }
}

/// A page, given back on drop.
#[derive(Debug)]
pub(crate) struct DevicePage {
    number: u32,
    numbers: Arc<Numbers>,
}

impl DevicePage {
    /// First of its positions in the tensors.
    pub(crate) fn slot(&self) -> u32 {
        self.number * PAGE as u32
    }
}

impl Drop for DevicePage {
    fn drop(&mut self) {
        self.numbers.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}
