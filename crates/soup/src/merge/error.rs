//! Why a soup has no parameters.

use crate::full::FileChanged;
use crate::{Method, Revision};

/// Why a tensor or an adapter could not be merged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The soup was made from another pool.
    #[error("the soup is of revision {soup}, the pool is {pool}")]
    OtherRevision {
        /// The soup's.
        soup: Revision,
        /// The pool's.
        pool: Revision,
    },
    /// The caller's tensor and a policy's do not fit; cannot happen after
    /// [`Pool::check_base`](crate::Pool::check_base).
    #[error("{name} has shape {shape:?} in the base, but {found:?} was given for it")]
    Shape {
        /// The tensor.
        name: String,
        /// What the base says.
        shape: Vec<usize>,
        /// What else was said.
        found: Vec<usize>,
    },
    /// A mapped file was written to while it was served.
    #[error("{0}")]
    FileChanged(String),
    /// The result is beyond f32.
    #[error("a value of {name} is not finite after merging: use a smaller strength")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// A method that mixes no parameters.
    #[error("{0} mixes no parameters")]
    NotParameters(Method),
    /// The soup cannot be written as one adapter.
    #[error("the soup cannot be one adapter: {0}")]
    NoAdapter(String),
}

impl From<FileChanged> for MergeError {
    fn from(changed: FileChanged) -> Self {
        Self::FileChanged(changed.to_string())
    }
}
