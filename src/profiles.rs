//! Profiles as requests see them: the store's, with those that were read lately held in memory.
//!
//! A change made here is seen by the next request here. One made by another replica is seen within a second, because
//! nothing is held longer: there is no channel between replicas that could break without being noticed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::store::{
    Change, Changed, Edit, Erased, KeptAnswer, KeptPair, Page, Profile, Review, Store, StoreError, UserId,
};

/// How long a profile that was read is used without asking the store again.
const FRESH: Duration = Duration::from_secs(1);

/// Owner and user.
type Who = (Arc<str>, UserId);

/// The profiles of all owners.
pub struct Profiles {
    store: Store,
    /// Users without a profile are held as well: asking for one must not cost more than for another.
    cache: Cache<Who, Option<Arc<Profile>>>,
    /// Counts changes made here. A look-up that a change overtook must not put what it read into the cache.
    changes: Mutex<u64>,
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
        let cache = Cache::builder().max_capacity(cached).time_to_live(FRESH).build();
        Self { store, cache, changes: Mutex::default() }
    }

    /// The profile of `user`, as `owner` keeps it.
    ///
    /// # Errors
    /// When it is not in memory and the store does not answer.
    pub async fn get(&self, owner: &Arc<str>, user: &UserId) -> Result<(Option<Arc<Profile>>, Source), StoreError> {
        let who = (owner.clone(), user.clone());
        if let Some(found) = self.cache.get(&who) {
            return Ok((found, Source::Cache));
        }
        let before = *self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.store.profile(owner, user).await?.map(Arc::new);
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == before {
            self.cache.insert(who, found.clone());
        }
        Ok((found, Source::Store))
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
        Forget { profiles: self, who: (owner.clone(), user.clone()) }
    }
}

/// Takes a profile out of the cache when dropped: when its change is done, failed, or was given up by a client that
/// left. In each case it may have reached the store.
struct Forget<'a> {
    profiles: &'a Profiles,
    who: Who,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let mut changes = self.profiles.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.profiles.cache.invalidate(&self.who);
    }
}
