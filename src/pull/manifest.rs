//! The one fact `pull` needs from the pool before the base is there: its sha256.

use std::path::Path;

use serde::Deserialize;

use super::PullError;

#[derive(Deserialize)]
struct Manifest {
    base: Base,
}

#[derive(Deserialize)]
struct Base {
    sha256: String,
}

/// The base's hash in `dir/pool.toml`; `None` when there is no pool.
pub(super) fn base_sha256(dir: Option<&Path>) -> Result<Option<String>, PullError> {
    let Some(path) = dir.map(|d| d.join("pool.toml")).filter(|p| p.exists()) else { return Ok(None) };
    let refused = |reason: String| PullError::Manifest { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path).map_err(|e| refused(e.to_string()))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|e| refused(e.to_string()))?;
    Ok(Some(manifest.base.sha256))
}
