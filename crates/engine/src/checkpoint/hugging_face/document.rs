//! JSON files of bounded size.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::digest;

/// Largest file of settings, in bytes.
pub(crate) const MAX_SETTINGS: u64 = 1 << 24;

/// A JSON file, read and hashed once.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) sha256: String,
}

impl Document {
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Self, CheckpointError> {
        let bytes = read_bounded(path, limit)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| CheckpointError::format(path, error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path: path.to_owned(), name, value, sha256: digest::sha256_of(&bytes) })
    }

    /// None if there is no such file.
    pub(crate) fn read_optional(path: &Path, limit: u64) -> Result<Option<Self>, CheckpointError> {
        match Self::read(path, limit) {
            Err(CheckpointError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// The error of this file.
    pub(crate) fn error(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::format(&self.path, reason)
    }
}

/// All bytes of a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path))?;
    let mut bytes = Vec::new();
    // One more than the limit tells a file at the limit from a larger one, or one that grows.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(CheckpointError::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(CheckpointError::format(path, format!("over {limit} bytes")));
    }
    Ok(bytes)
}
