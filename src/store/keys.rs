//! Keys as they are stored: their secrets as hashes alone.

use std::fmt;

use sqlx::any::AnyRow;
use sqlx::{FromRow, Row};

use super::{Notice, Store, StoreError, now_ms};

/// One stored key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The part of the key that names it.
    pub id: String,
    /// Whose profiles it reaches.
    pub owner: String,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of the secret part, in hex.
    pub secret_sha256: String,
    /// Scopes, separated by commas.
    pub scopes: String,
    /// Requests per minute; `None` takes the configured number, 0 is no limit.
    pub rate_per_minute: Option<i64>,
    /// Requests at a time; `None` takes the configured number, 0 is no limit.
    pub concurrency: Option<i64>,
    /// JSON of the rules that it has besides the configured ones.
    pub rules: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970; from then on it is no key.
    pub expires_at: Option<i64>,
    /// Milliseconds since 1970; it is no key any more.
    pub revoked_at: Option<i64>,
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromRow<'_, AnyRow> for KeyRecord {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            owner: row.try_get("owner")?,
            name: row.try_get("name")?,
            secret_sha256: row.try_get("secret_sha256")?,
            scopes: row.try_get("scopes")?,
            rate_per_minute: row.try_get("rate_per_minute")?,
            concurrency: row.try_get("concurrency")?,
            rules: row.try_get("rules")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }
}

/// A key to be stored.
pub struct NewKey {
    /// See [`KeyRecord::id`].
    pub id: String,
    /// See [`KeyRecord::owner`].
    pub owner: String,
    /// See [`KeyRecord::name`].
    pub name: String,
    /// See [`KeyRecord::secret_sha256`].
    pub secret_sha256: String,
    /// See [`KeyRecord::scopes`].
    pub scopes: String,
    /// See [`KeyRecord::rate_per_minute`].
    pub rate_per_minute: Option<u32>,
    /// See [`KeyRecord::concurrency`].
    pub concurrency: Option<u32>,
    /// See [`KeyRecord::rules`].
    pub rules: Option<String>,
    /// How long it is a key, in milliseconds; `None` is for ever.
    pub lasts_ms: Option<i64>,
}

impl Store {
    /// Stores a key.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn add_key(&self, key: NewKey) -> Result<(), StoreError> {
        let now = now_ms();
        self.within(async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO keys (id, owner, name, secret_sha256, scopes, rate_per_minute, concurrency, rules, \
                 created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(key.id)
            .bind(key.owner)
            .bind(key.name)
            .bind(key.secret_sha256)
            .bind(key.scopes)
            .bind(key.rate_per_minute.map(i64::from))
            .bind(key.concurrency.map(i64::from))
            .bind(key.rules)
            .bind(now)
            .bind(key.lasts_ms.map(|ms| now.saturating_add(ms)))
            .execute(&mut *tx)
            .await?;
            sqlx::query("UPDATE keys_revision SET value = value + 1").execute(&mut *tx).await?;
            self.tell_on(&mut *tx, Notice::Keys).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Every key there ever was, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM keys ORDER BY created_at, id");
        self.within(async { Ok(query.fetch_all(&self.reads).await?) }).await
    }

    /// Ends a key. False when there is none of this id that still works.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        self.within(async {
            let mut tx = self.begin().await?;
            let revoke = sqlx::query("UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL");
            let revoked = revoke.bind(now_ms()).bind(id).execute(&mut *tx).await?.rows_affected() == 1;
            sqlx::query("UPDATE keys_revision SET value = value + 1").execute(&mut *tx).await?;
            self.tell_on(&mut *tx, Notice::Keys).await?;
            tx.commit().await?;
            Ok(revoked)
        })
        .await
    }

    /// Changes whenever a key was added or revoked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keys_revision(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT value FROM keys_revision");
        self.within(async { Ok(query.fetch_one(&self.reads).await?) }).await
    }
}
