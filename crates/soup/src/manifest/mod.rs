//! `pool.toml` as it is written, and its checks.

mod check;
mod raw;

pub(crate) use check::Manifest;
pub(crate) use raw::{FORMAT, Kind, RawDimension, RawManifest, RawPolicy};

/// The manifest's name in the pool's folder.
pub(crate) const FILE: &str = "pool.toml";

/// The two files of a LoRA policy, under PEFT's names.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// See [`ADAPTER_CONFIG`].
pub(crate) const ADAPTER_MODEL: &str = "adapter_model.safetensors";
