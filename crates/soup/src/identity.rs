//! Which base a pool belongs to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names one base model by content. Policies are changes to these weights and to no others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseIdentity {
    /// The model's name, for people; the hashes decide.
    pub name: String,
    /// SHA-256 of the checkpoint, 64 lower-case hex digits.
    pub sha256: String,
    /// SHA-256 of the vocabulary, 64 lower-case hex digits: the same for every file format of one tokenizer.
    pub vocabulary_sha256: String,
}

/// What [`Pool::check_base`](crate::Pool::check_base) needs to know of a loaded base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// The model's name.
    pub name: String,
    /// SHA-256 of the checkpoint.
    pub sha256: String,
    /// SHA-256 of the vocabulary.
    pub vocabulary_sha256: String,
    /// Hugging Face name of every tensor with its shape (a linear weight: out, in).
    pub shapes: BTreeMap<String, Vec<usize>>,
}

impl BaseFacts {
    /// The identity alone.
    pub fn identity(&self) -> BaseIdentity {
        BaseIdentity {
            name: self.name.clone(),
            sha256: self.sha256.clone(),
            vocabulary_sha256: self.vocabulary_sha256.clone(),
        }
    }
}
