//! What a restart takes up of a roll-out. What is in it, `rollout/kept.rs` knows.

use super::{Store, StoreError};

/// A roll-out as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRollout {
    /// JSON of the one that is running.
    pub running: Option<String>,
    /// JSON of how the last one ended.
    pub last: Option<String>,
}

impl Store {
    /// What was kept last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rollout(&self) -> Result<KeptRollout, StoreError> {
        let query = sqlx::query_as("SELECT running, last FROM rollout");
        let (running, last) = self.within(async { Ok::<_, StoreError>(query.fetch_one(&self.reads).await?) }).await?;
        Ok(KeptRollout { running, last })
    }

    /// Keeps this instead. When it returns, it is on the disk.
    ///
    /// # Errors
    /// When the store does not answer; it may be kept all the same.
    pub async fn keep_rollout(&self, kept: KeptRollout) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE rollout SET running = $1, last = $2").bind(kept.running).bind(kept.last);
        self.within(async { Ok(query.execute(&self.writes).await.map(drop)?) }).await
    }
}
