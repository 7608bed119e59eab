//! What the files of a pool's policies tell of their training.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde::Deserialize;

use crate::config::read_checked;
use crate::error::TrainError;

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    policy: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    dir: String,
}

/// What the files of a pool's policies say, by the policy's id.
pub(super) type Facts = HashMap<String, HashMap<String, String>>;

/// The metadata of every policy's adapter, by the policy's id.
///
/// # Errors
/// A manifest that cannot be read. An adapter without metadata tells nothing, and that is no error.
pub(super) fn metadata(pool: &Path) -> Result<Facts, TrainError> {
    let path = pool.join("pool.toml");
    let manifest: Manifest = read_checked(&path, |_| Ok(()))?;
    let of = |Entry { id, dir }: Entry| {
        let bytes = std::fs::read(pool.join(dir).join("adapter_model.safetensors")).ok();
        let header = bytes.and_then(|bytes| Some(SafeTensors::read_metadata(&bytes).ok()?.1));
        (id, header.and_then(|header| header.metadata().clone()).unwrap_or_default())
    };
    Ok(manifest.policy.into_iter().map(of).collect())
}
