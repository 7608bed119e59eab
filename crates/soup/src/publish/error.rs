//! Why a policy was not published.

use std::io;
use std::path::{Path, PathBuf};

use crate::{BaseIdentity, PoolError};

/// Why a policy was not published. The pool is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pool's manifest cannot be read.
    #[error("the manifest of {}: {reason}", dir.display())]
    Manifest {
        /// The pool's folder.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
    /// The pool is for another base.
    #[error("the pool is for {} ({}), the policy for {} ({})", pool.name, pool.sha256, given.name, given.sha256)]
    OtherBase {
        /// What the pool says.
        pool: Box<BaseIdentity>,
        /// What the policy was trained on.
        given: Box<BaseIdentity>,
    },
    /// Another policy's files are in the folder that this one would get.
    #[error("the folder {dir:?} belongs to policy {owner:?}")]
    FolderTaken {
        /// The folder.
        dir: String,
        /// Whose it is.
        owner: String,
    },
    /// The policy, or the pool with it, is not sound.
    #[error("the pool would not be served:\n{0}")]
    Refused(#[source] PoolError),
    /// The entry cannot be written as TOML.
    #[error("the manifest cannot be written: {0}")]
    Unwritable(#[source] toml::ser::Error),
}

impl PublishError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
