//! Profiles as requests see them: the store's, with those that were read lately held in memory.
//!
//! A change made here is seen by the next request here. One made by another replica is seen within a second: while what
//! replicas tell each other is heard (`replicas.rs`), what changed is dropped as soon as it is told; while it is not, nothing
//! is used for longer than that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::store::{
    Change, Changed, Edit, Erased, KeptAnswer, KeptPair, Page, Profile, Review, Store, StoreError, UserId, Whose,
};

/// No request is served by what another replica changed longer ago.
const FRESH: Duration = Duration::from_secs(1);

/// How long a profile that was read is held where changes are told.
const HELD: Duration = Duration::from_mins(1);

/// The profiles of all owners.
pub struct Profiles {
    store: Store,
    /// Users without a profile are held as well: asking for one must not cost more than for another.
    cache: Cache<Whose, Held>,
    /// Counts changes. A look-up that a change overtook must not put what it read into the cache.
    changes: Mutex<u64>,
    /// Everything that was written before this is known here, in milliseconds since `begun`; 0 when nothing is.
    heard: AtomicU64,
    begun: Instant,
}

#[derive(Clone)]
struct Held {
    profile: Option<Arc<Profile>>,
    /// It is at least as young as this.
    read: Instant,
}

/// Where a look-up found its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In memory.
    Cache,
    /// In the store.
    Store,
}

impl Profiles {
    /// Profiles in `store`, at most `cached` of them in memory.
    pub fn new(store: Store, cached: u64) -> Self {
        let lives = if store.tells() { HELD } else { FRESH };
        let cache = Cache::builder().max_capacity(cached).time_to_live(lives).build();
        Self { store, cache, changes: Mutex::default(), heard: AtomicU64::new(0), begun: Instant::now() }
    }

    /// The profile of `user`, as `owner` keeps it.
    ///
    /// # Errors
    /// When it is not in memory and the store does not answer.
    pub async fn get(&self, owner: &Arc<str>, user: &UserId) -> Result<(Option<Arc<Profile>>, Source), StoreError> {
        let whose = Whose::new(owner, user);
        if let Some(held) = self.cache.get(&whose).filter(|held| self.is_fresh(held)) {
            return Ok((held.profile, Source::Cache));
        }
        let (before, read) = (*self.changes(), Instant::now());
        let profile = self.store.profile(owner, user).await?.map(Arc::new);
        let changes = self.changes();
        if *changes == before {
            self.cache.insert(whose, Held { profile: profile.clone(), read });
        }
        Ok((profile, Source::Store))
    }

    /// What another replica may have changed since, it changed less than [`FRESH`] ago.
    fn is_fresh(&self, held: &Held) -> bool {
        let known = match self.heard.load(Ordering::Acquire) {
            0 => held.read,
            heard => held.read.max(self.begun + Duration::from_millis(heard)),
        };
        known.elapsed() < FRESH
    }

    /// Now, for [`Self::heard`].
    pub(crate) fn clock(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// All that was told until `clock` was heard.
    pub(crate) fn heard(&self, clock: u64) {
        self.heard.fetch_max(clock, Ordering::AcqRel);
    }

    /// Nothing is heard any more. What was read keeps for [`FRESH`].
    pub(crate) fn deaf(&self) {
        self.heard.store(0, Ordering::Release);
    }

    /// Somebody changed this profile.
    pub(crate) fn drop_one(&self, whose: Whose) {
        *self.changes() += 1;
        self.cache.invalidate(&whose);
    }

    /// Any profile may have changed.
    pub(crate) fn drop_all(&self) {
        *self.changes() += 1;
        self.cache.invalidate_all();
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Store::change`].
    ///
    /// # Errors
    /// As there.
    pub async fn change<E: From<StoreError>>(
        &self,
        owner: &Arc<str>,
        change: &Change<'_>,
        decide: impl Fn(Option<&Profile>) -> Result<Edit, E>,
    ) -> Result<Changed, E> {
        let _forgotten = self.forget(owner, change.user);
        self.store.change(change, decide).await
    }

    /// See [`Store::erase`].
    ///
    /// # Errors
    /// As there.
    pub async fn erase(&self, owner: &Arc<str>, user: &UserId) -> Result<Erased, StoreError> {
        let _forgotten = self.forget(owner, user);
        self.store.erase(owner, user).await
    }

    /// See [`Store::users`].
    ///
    /// # Errors
    /// As there.
    pub async fn users(&self, owner: &str, after: Option<&UserId>, limit: u32) -> Result<Page, StoreError> {
        self.store.users(owner, after, limit).await
    }

    /// See [`Store::pairs_of`].
    ///
    /// # Errors
    /// As there.
    pub async fn pairs_of(&self, owner: &Arc<str>, user: &UserId) -> Result<Vec<KeptPair>, StoreError> {
        self.store.pairs_of(owner, user).await
    }

    /// See [`Store::answers_of`].
    ///
    /// # Errors
    /// As there.
    pub async fn answers_of(&self, owner: &Arc<str>, user: &UserId) -> Result<Vec<KeptAnswer>, StoreError> {
        self.store.answers_of(owner, user).await
    }

    /// See [`Store::reviews_of`].
    ///
    /// # Errors
    /// As there.
    pub async fn reviews_of(&self, owner: &Arc<str>, user: &UserId) -> Result<Vec<Review>, StoreError> {
        self.store.reviews_of(owner, user).await
    }

    fn forget(&self, owner: &Arc<str>, user: &UserId) -> Forget<'_> {
        Forget { profiles: self, whose: Whose::new(owner, user) }
    }
}

/// Takes a profile out of the cache when dropped: when its change is done, failed, or was given up by a client that
/// left. In each case it may have reached the store.
struct Forget<'a> {
    profiles: &'a Profiles,
    whose: Whose,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.profiles.drop_one(self.whose);
    }
}
