//! Preference pairs that feedback left, for training: kept only where the configuration says so, and not for ever.

use sqlx::{Any, Transaction};
use tureen_engine::Message;

use super::{Store, StoreError, UserId, now_ms, turns};

/// Pairs that are kept of one user; the oldest make way.
const MOST: i64 = 1000;

/// Two answers to one prompt, one of them preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The preferred answer.
    pub chosen: String,
    /// The other one.
    pub rejected: String,
}

/// A pair in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPair {
    /// Its name: a UUID that is greater than those of older ones.
    pub id: String,
    /// The pair.
    pub pair: Pair,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// `id`, `prompt`, `chosen`, `rejected`, `created_at`
type Row = (String, String, String, String, i64);

impl Store {
    /// Every pair of `user`, as `owner` keeps them, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pairs_of(&self, owner: &str, user: &UserId) -> Result<Vec<KeptPair>, StoreError> {
        let query = sqlx::query_as(
            "SELECT id, prompt, chosen, rejected, created_at FROM pairs WHERE owner = $1 AND user_id = $2 ORDER BY id",
        );
        let query = query.bind(owner.to_owned()).bind(user.as_str().to_owned());
        self.within(async { read(query.fetch_all(&self.reads).await?) }).await
    }

    /// At most `limit` pairs of all users of `owner` behind the one named `after`, or from the oldest; none that was left
    /// before `age_ms` milliseconds ago, although it may still be stored.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pairs(
        &self,
        owner: &str,
        after: Option<&str>,
        age_ms: i64,
        limit: u32,
    ) -> Result<Vec<KeptPair>, StoreError> {
        let query = sqlx::query_as(
            "SELECT id, prompt, chosen, rejected, created_at FROM pairs \
             WHERE owner = $1 AND id > $2 AND created_at >= $3 ORDER BY id LIMIT $4",
        );
        let query = query.bind(owner.to_owned()).bind(after.unwrap_or("").to_owned());
        let query = query.bind(now_ms().saturating_sub(age_ms)).bind(i64::from(limit));
        self.within(async { read(query.fetch_all(&self.reads).await?) }).await
    }

    /// Removes the pairs that were left before `age_ms` milliseconds ago, and tells how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_pairs(&self, age_ms: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM pairs WHERE created_at < $1").bind(now_ms().saturating_sub(age_ms));
        self.within(async { Ok(query.execute(&self.writes).await?.rows_affected()) }).await
    }
}

fn read(rows: Vec<Row>) -> Result<Vec<KeptPair>, StoreError> {
    let pair = |(id, prompt, chosen, rejected, created_at): Row| {
        let prompt = turns::read(&prompt)?;
        Ok(KeptPair { id, pair: Pair { prompt, chosen, rejected }, created_at })
    };
    rows.into_iter().map(pair).collect()
}

/// Adds `pair` within the change that it belongs to.
pub(super) async fn keep(
    tx: &mut Transaction<'_, Any>,
    (owner, user): (&str, &UserId),
    pair: &Pair,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO pairs (owner, id, user_id, prompt, chosen, rejected, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    let id = uuid::Uuid::now_v7().simple().to_string();
    let query = query.bind(owner).bind(id).bind(user.as_str()).bind(turns::write(&pair.prompt));
    query.bind(&pair.chosen).bind(&pair.rejected).bind(now_ms()).execute(&mut **tx).await?;
    let query = sqlx::query(
        "DELETE FROM pairs WHERE owner = $1 AND user_id = $2 AND id <= \
         (SELECT id FROM pairs WHERE owner = $3 AND user_id = $4 ORDER BY id DESC LIMIT 1 OFFSET $5)",
    );
    let query = query.bind(owner).bind(user.as_str()).bind(owner).bind(user.as_str()).bind(MOST);
    query.execute(&mut **tx).await?;
    Ok(())
}
