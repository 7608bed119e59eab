//! What replicas on one PostgreSQL tell each other, so that each can hold what it read: `NOTIFY` in the transaction that
//! writes, `LISTEN` on a connection that does nothing else.
//!
//! Users are told as hashes: who may listen to a database need not be who may read its tables.

use std::fmt;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Any, Executor};

use super::{Store, StoreError, UserId};

const CHANNEL: &str = "tureen";

/// What the connection is called in `pg_stat_activity`.
const NAME: &str = "tureen listens";

/// An owner's user, without naming them: a hash of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Whose([u8; 32]);

impl Whose {
    /// `user`, as `owner` keeps them.
    pub fn new(owner: &str, user: &UserId) -> Self {
        let length = (owner.len() as u64).to_le_bytes();
        let hash = Sha256::new().chain_update(length).chain_update(owner).chain_update(user.as_str());
        Self(hash.finalize().into())
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A profile changed.
    Changed(Whose),
    /// Everything about a user was erased.
    Erased(Whose),
    /// A key was made or revoked.
    Keys,
    /// Whoever is `of` told this at `at`, by its own clock. Notices come in the order of their transactions: who hears this
    /// has heard everything that was written before.
    Beat {
        /// Drawn by whoever tells it.
        of: u64,
        /// As they count.
        at: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(Whose(hash)) => write!(f, "changed {}", hex::encode(hash)),
            Self::Erased(Whose(hash)) => write!(f, "erased {}", hex::encode(hash)),
            Self::Keys => f.write_str("keys"),
            Self::Beat { of, at } => write!(f, "beat {of:x} {at:x}"),
        }
    }
}

impl Notice {
    /// `None` for what another version tells.
    fn parse(text: &str) -> Option<Self> {
        let whose = |digits: &str| {
            let mut hash = [0; 32];
            hex::decode_to_slice(digits, &mut hash).ok().map(|()| Whose(hash))
        };
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let mut words = text.split(' ');
        match (words.next()?, words.next(), words.next()) {
            ("changed", Some(digits), None) => whose(digits).map(Self::Changed),
            ("erased", Some(digits), None) => whose(digits).map(Self::Erased),
            ("keys", None, None) => Some(Self::Keys),
            ("beat", Some(of), Some(at)) => Some(Self::Beat { of: number(of)?, at: number(at)? }),
            _ => None,
        }
    }
}

/// Where to listen. Does not show its password.
#[derive(Clone)]
pub(super) struct Place(PgConnectOptions);

impl Place {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self(options.application_name(NAME))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place(***)")
    }
}

/// Hears what is told from its beginning on.
pub struct Notices(PgListener);

impl Notices {
    /// The next notice. What is not one of this version is passed over.
    ///
    /// # Errors
    /// When the connection is lost: from then on nothing is heard.
    pub async fn next(&mut self) -> Result<Notice, StoreError> {
        loop {
            let told = self.0.try_recv().await?.ok_or(StoreError::Deaf)?;
            if let Some(notice) = Notice::parse(told.payload()) {
                return Ok(notice);
            }
        }
    }
}

impl Store {
    /// Whether replicas tell each other what they change. Several processes may open one SQLite file; they do not.
    pub fn tells(&self) -> bool {
        self.place.is_some()
    }

    /// Begins to hear what is told. `None` where nothing is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listen(&self) -> Result<Option<Notices>, StoreError> {
        let Some(Place(options)) = self.place.clone() else { return Ok(None) };
        // One of its own, so that a connection that hangs holds none of those that requests wait for.
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        self.within(async {
            let mut listener = PgListener::connect_with(&pool.connect_with(options).await?).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Some(Notices(listener)))
        })
        .await
    }

    /// Tells a notice that belongs to no transaction.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn tell(&self, notice: Notice) -> Result<(), StoreError> {
        self.within(self.tell_on(&self.writes, notice)).await
    }

    /// Tells `notice` where there is anybody to hear it; within a transaction when that is committed.
    pub(super) async fn tell_on(
        &self,
        on: impl Executor<'_, Database = Any>,
        notice: Notice,
    ) -> Result<(), StoreError> {
        if self.tells() {
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(notice.to_string()).execute(on).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Notice, UserId, Whose};

    #[test]
    fn what_is_told_is_heard_and_names_nobody() {
        let whose = Whose::new("default", &UserId::new("u-17").unwrap());
        for notice in
            [Notice::Changed(whose), Notice::Erased(whose), Notice::Keys, Notice::Beat { of: u64::MAX, at: 7 }]
        {
            let text = notice.to_string();
            assert_eq!(Notice::parse(&text), Some(notice));
            assert!(!text.contains("u-17") && text.len() < 100, "{text}");
        }
        for text in ["", "changed", "changed ab", "keys now", "beat 1", "erased u-17", "new 1"] {
            assert_eq!(Notice::parse(text), None, "{text}");
        }
        assert_ne!(Whose::new("a", &UserId::new("bc").unwrap()), Whose::new("ab", &UserId::new("c").unwrap()));
    }
}
