//! Why the store did not answer.

use sqlx::migrate::MigrateError;

/// What can go wrong with the store. No message holds the URL, which may hold a password, or a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `[store] url` names no database that can be used.
    #[error("[store] url: {0}")]
    Url(String),
    /// The database answered with an error, or not in time.
    #[error("the store cannot be used: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// It took longer than `[store] timeout_ms`.
    #[error("the store did not answer in time")]
    Late,
    /// What replicas tell each other is not heard any more.
    #[error("the connection that listens was lost")]
    Deaf,
    /// The tables could not be brought to this version's form.
    #[error("the store's tables cannot be used: {0}")]
    Migration(#[from] MigrateError),
    /// The database file is damaged.
    #[error("the store is damaged ({0}); restore it from a backup made with `tureen db backup`")]
    Damaged(String),
    /// A row that this version did not write.
    #[error("a row of the store cannot be read: {0}")]
    Row(String),
    /// Others changed the same row again and again.
    #[error("others are changing the same profile; try again")]
    Contended,
    /// The idempotency key was used for another change.
    #[error("this Idempotency-Key was used for another change")]
    ClientKeyReused,
    /// As many reviews wait as may.
    #[error("as many reviews are kept as [guard] max_reviews allows")]
    Full,
    /// The operation exists for the other kind of database.
    #[error("{0}")]
    NotSupported(&'static str),
}
