//! A soup as a source of tensors for candle: any architecture of candle-transformers can be built from it.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use tureen_soup::{Pool, Soup, merge};

use crate::checkpoint::Checkpoint;

/// Tensors of a soup, merged one by one as they are asked for: base + what the soup changes, computed in f64 and
/// rounded once to f32, then cast to the type asked for.
///
/// ```no_run
/// # fn example(backend: tureen_engine::SoupBackend, config: candle_transformers::models::qwen2::Config)
/// # -> candle_core::Result<()> {
/// use candle_core::{DType, Device};
/// let weights = candle_nn::VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu);
/// let model = candle_transformers::models::qwen2::ModelForCausalLM::new(&config, weights)?;
/// # Ok(()) }
/// ```
pub struct SoupBackend {
    checkpoint: Arc<Checkpoint>,
    pool: Arc<Pool>,
    soup: Arc<Soup>,
}

impl SoupBackend {
    /// The tensors of `soup`, which was made from `pool`, a pool of `checkpoint`.
    #[must_use]
    pub fn new(checkpoint: Arc<Checkpoint>, pool: Arc<Pool>, soup: Arc<Soup>) -> Self {
        Self { checkpoint, pool, soup }
    }
}

impl SimpleBackend for SoupBackend {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            let (expected, got) = (shape, tensor.shape().clone());
            return Err(candle_core::Error::UnexpectedShape { msg: format!("shape of {name}"), expected, got }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let base = self.checkpoint.tensor(name).map_err(candle_core::Error::wrap)?;
        let values: Vec<f32> = base.flatten_all()?.to_vec1()?;
        let merged = merge::tensor(&self.pool, &self.soup, name, base.dims(), &values);
        let tensor = match merged.map_err(candle_core::Error::wrap)? {
            Some(values) => Tensor::from_vec(values, base.shape(), &Device::Cpu)?,
            None => base,
        };
        tensor.to_dtype(dtype)?.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.checkpoint.shape(name).is_some()
    }
}
