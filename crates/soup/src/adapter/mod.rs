//! Writing LoRA adapters in PEFT's layout.

mod config;
mod safetensors;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic;
use crate::manifest::{ADAPTER_CONFIG, ADAPTER_MODEL};

/// One module's A (rank x in) and B (out x rank), both row-major, then in and out.
pub type Factors = (Vec<f32>, Vec<f32>, usize, usize);

/// A LoRA adapter: for each module `alpha / rank · B A`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Rank of every module.
    pub rank: usize,
    /// alpha of every module.
    pub alpha: f64,
    /// By module name, for example `model.layers.0.self_attn.q_proj`.
    pub modules: BTreeMap<String, Factors>,
    /// Added to the metadata of the safetensors file; `format` is there by itself.
    pub metadata: BTreeMap<String, String>,
}

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    F32,
    /// Rounded to nearest even: half the size.
    Bf16,
}

/// Why an adapter was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A factor does not have the values that its shape asks for.
    #[error("{module}: {factor} has {found} values, not {expected}")]
    Shape {
        /// The module.
        module: String,
        /// `lora_A` or `lora_B`.
        factor: &'static str,
        /// What the shape asks for.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A value that no reader could use, or none that the precision can hold.
    #[error("{module}: {factor} has a value that is not finite")]
    NotFinite {
        /// The module.
        module: String,
        /// `lora_A` or `lora_B`.
        factor: &'static str,
    },
    /// An adapter that changes nothing, or whose scale is none.
    #[error("an adapter needs at least one module, a rank of at least 1 and a finite alpha above 0")]
    Empty,
    /// A file could not be written.
    #[error("writing {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes `adapter_config.json` and `adapter_model.safetensors` to the folder `dir`, which must exist. Each file is
/// there whole or not at all, the configuration last. The bytes depend on the arguments alone.
///
/// # Errors
/// [`AdapterError`]; nothing is written when a shape is wrong.
pub fn write(adapter: &Adapter, dir: &Path, precision: Precision, base_name: &str) -> Result<(), AdapterError> {
    check(adapter)?;
    let put = |name: &str, bytes: &[u8]| {
        atomic::write(dir, name, bytes).map_err(|source| AdapterError::Io { path: dir.join(name), source })
    };
    put(ADAPTER_MODEL, &safetensors::bytes(adapter, precision)?)?;
    put(ADAPTER_CONFIG, &config::bytes(adapter, base_name))
}

fn check(adapter: &Adapter) -> Result<(), AdapterError> {
    let Adapter { rank, alpha, modules, metadata: _ } = adapter;
    if *rank == 0 || !(alpha.is_finite() && *alpha > 0.0) || modules.is_empty() {
        return Err(AdapterError::Empty);
    }
    for (module, (a, b, in_features, out_features)) in modules {
        for (factor, values, width) in [("lora_A", a, in_features), ("lora_B", b, out_features)] {
            let (expected, found) = (rank * width, values.len());
            if expected != found || expected == 0 {
                return Err(AdapterError::Shape { module: module.clone(), factor, expected, found });
            }
        }
    }
    Ok(())
}
