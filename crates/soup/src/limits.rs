//! What bounds a pool. All limits of this crate in one place.

/// Bytes of `pool.toml`: it is read into memory whole before it is understood.
pub(crate) const MANIFEST_BYTES: u64 = 1 << 20;

/// Bytes of one `adapter_config.json`, for the same reason.
pub(crate) const ADAPTER_CONFIG_BYTES: u64 = 1 << 20;

/// Bytes of the header of a safetensors file; the format's own limit is higher.
pub(crate) const SAFETENSORS_HEADER_BYTES: u64 = 16 << 20;

/// Policies in one pool: the Gram matrix grows with the square.
pub(crate) const POLICIES: usize = 256;

/// Largest rank of one LoRA module; PEFT's users stay below 1024.
pub(crate) const RANK: usize = 4096;
