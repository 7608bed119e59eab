//! A base's policies, read once and immutable.

mod check_base;
mod gram;
mod measure;
mod open;
mod resolve;

use std::path::PathBuf;

use crate::hash::Hasher;
use crate::{BaseIdentity, Dimension, Policy, PolicyWeights, Revision, Soup};

/// How a pool's files are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolOptions {
    /// Where full-weight policies are kept. LoRA factors are always copied into memory.
    pub weights: Weights,
}

/// Where full-weight policies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// In their files, mapped: costs no memory that the system could not take back. Files must be replaced by renaming
    /// (see [`Pool::changed_files`]).
    #[default]
    Mapped,
    /// In memory: for shared file systems, where others may write.
    Read,
}

/// An immutable snapshot of base and policies.
#[derive(Debug)]
pub struct Pool {
    base: BaseIdentity,
    dimensions: Vec<Dimension>,
    /// Sorted by id: everything that is summed over policies is summed in this order.
    policies: Vec<Policy>,
    revision: Revision,
    gram: Vec<Vec<f64>>,
}

impl Pool {
    /// A pool without policies, which serves the base alone.
    pub fn empty(base: BaseIdentity) -> Self {
        let BaseIdentity { name, sha256, vocabulary_sha256 } = &base;
        let fields = [name, sha256, vocabulary_sha256];
        let hasher = fields.iter().fold(Hasher::new("tureen empty pool 1"), |h, field| h.field(field.as_bytes()));
        let revision = Revision(hasher.finish());
        Self { base, dimensions: Vec::new(), policies: Vec::new(), revision, gram: Vec::new() }
    }

    /// The policies, sorted by id.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The dimensions, in the manifest's order.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Changes with every byte of the manifest and of the files it names.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The base that the policies change.
    pub fn base(&self) -> &BaseIdentity {
        &self.base
    }

    /// Where policy `id` stands in [`Self::policies`].
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.policies.binary_search_by(|policy| policy.id().as_ref().cmp(id)).ok()
    }

    /// Mapped files that were overwritten or cut in place since they were verified: what they hold now must not be
    /// served, and reading a cut one can end the process. Files that were replaced by renaming are not among them.
    /// Asks the system once for each mapped file; nothing is read.
    pub fn changed_files(&self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for policy in &self.policies {
            if let PolicyWeights::Full(full) = policy.weights() {
                changed.extend(full.changed_files().map(PathBuf::from));
            }
        }
        changed
    }

    /// Bytes of the policies in memory: factors, and full weights that were read rather than mapped.
    pub fn bytes(&self) -> u64 {
        let bytes = |policy: &Policy| match policy.weights() {
            PolicyWeights::Lora(lora) => lora.bytes(),
            PolicyWeights::Full(full) => full.bytes_read(),
        };
        self.policies.iter().map(bytes).sum()
    }

    /// Whether `soup` can be served unmerged: it mixes factors, and every policy in it has factors. So can the base.
    pub fn supports_gate(&self, soup: &Soup) -> bool {
        let has_factors = |(index, _): (usize, f64)| self.policies.get(index).is_some_and(|p| p.lora().is_some());
        soup.is_base() || (soup.method().works_on_factors() && soup.active().all(has_factors))
    }
}
