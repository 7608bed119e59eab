//! The keys that work, in memory: a request never waits for the store to be let in, and keys go on working without it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use subtle::ConstantTimeEq;
use tureen_soup::rules::{Rules, RulesText};

use super::limit::{Full, Limiter, Permit};
use super::{Key, Scopes};
use crate::config;
use crate::store::{KeyRecord, Store, StoreError, now_ms};

/// A key that works, and what it used of its limits.
pub(super) struct LiveKey {
    record: KeyRecord,
    secret_sha256: [u8; 32],
    owner: Arc<str>,
    id: Arc<str>,
    scopes: Scopes,
    rules: Arc<Rules>,
    limiter: Limiter,
}

impl LiveKey {
    pub(super) fn owner(&self) -> Arc<str> {
        self.owner.clone()
    }

    pub(super) fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    pub(super) fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// The configured rules and its own.
    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.clone()
    }

    pub(super) fn enter(&self) -> Result<Permit, Full> {
        self.limiter.enter()
    }
}

/// All keys that work.
pub(super) struct Ring {
    keys: RwLock<HashMap<String, Arc<LiveKey>>>,
    /// The revision that `keys` were read at.
    revision: Mutex<Option<i64>>,
    config: config::Auth,
    rules: Rules,
}

impl Ring {
    pub(super) fn new(config: config::Auth, rules: Rules) -> Self {
        Self { keys: RwLock::default(), revision: Mutex::default(), config, rules }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The key that `text` is. The secret is compared in a time that does not depend on where it differs.
    pub(super) fn find(&self, text: &str) -> Option<Arc<LiveKey>> {
        let (id, digest) = Key::parse(text)?;
        let key = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()?;
        let same: bool = key.secret_sha256.ct_eq(&digest).into();
        (same && key.record.expires_at.is_none_or(|end| now_ms() < end)).then_some(key)
    }

    /// Reads the keys anew if they changed. Keys that did not change keep what they used of their limits.
    pub(super) async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        // Before the keys: a change in between is then read once too often, never once too seldom.
        let revision = store.keys_revision().await?;
        if *self.revision.lock().unwrap_or_else(PoisonError::into_inner) == Some(revision) {
            return Ok(());
        }
        let records = store.keys().await?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let working = records.into_iter().filter(|record| record.revoked_at.is_none());
        *keys = working.filter_map(|record| self.live(keys.get(&record.id), record)).collect();
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
        Ok(())
    }

    fn live(&self, known: Option<&Arc<LiveKey>>, record: KeyRecord) -> Option<(String, Arc<LiveKey>)> {
        let id = record.id.clone();
        if let Some(known) = known.filter(|known| known.record == record) {
            return Some((id, known.clone()));
        }
        let mut secret_sha256 = [0; 32];
        let whole = hex::decode_to_slice(&record.secret_sha256, &mut secret_sha256);
        let (Ok(()), Ok(scopes), Some(own)) = (whole, scopes(&record.scopes), rules(record.rules.as_deref())) else {
            tracing::warn!(key = id, "a stored key cannot be read and is left out");
            return None;
        };
        let or = |own: Option<i64>, configured: u32| own.map_or(configured, |n| u32::try_from(n).unwrap_or(u32::MAX));
        let limiter = Limiter::new(
            or(record.rate_per_minute, self.config.rate_per_minute),
            or(record.concurrency, self.config.concurrency),
        );
        let owner = record.owner.as_str().into();
        let rules = Arc::new(self.rules.and(&own));
        Some((id.clone(), Arc::new(LiveKey { secret_sha256, owner, id: id.into(), scopes, rules, limiter, record })))
    }
}

fn scopes(text: &str) -> Result<Scopes, super::UnknownScope> {
    text.split(',').filter(|name| !name.is_empty()).map(str::parse).collect()
}

/// A key without rules of its own has those that allow everything; one whose rules cannot be read is no key.
fn rules(text: Option<&str>) -> Option<Rules> {
    let Some(text) = text else { return Some(Rules::default()) };
    serde_json::from_str::<RulesText>(text).ok()?.try_into().ok()
}
