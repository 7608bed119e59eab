//! What a pool is checked against.

use tureen_soup::BaseFacts;

use crate::checkpoint::Checkpoint;

impl Checkpoint {
    /// Identity and shapes of this base, for [`Pool::check_base`](tureen_soup::Pool::check_base).
    pub fn base_facts(&self) -> BaseFacts {
        BaseFacts {
            name: self.name.clone(),
            sha256: self.sha256().to_owned(),
            vocabulary_sha256: self.vocabulary_sha256.clone(),
            shapes: self.shapes(),
        }
    }
}
