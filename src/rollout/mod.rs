//! Two revisions side by side: who gets the candidate, how it does, and its end.
//!
//! The engine serves any revision that a submission names, in one batch. A roll-out decides which one that is
//! (`share.rs`), keeps the candidate ready, also over a restart (`kept.rs`), and ends when it is promoted, taken back, or fails
//! too often (`outcomes.rs`).

mod ended;
mod kept;
mod open;
mod outcomes;
mod running;
mod shadow;
mod share;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, Notify};
use tureen_engine::{Engine, EngineError};
use tureen_soup::Pool;

use crate::config;
use crate::metrics::Metrics;
use crate::store::Store;
pub use ended::{Cause, Ended};
pub use kept::resume;
pub(crate) use open::{not_opened, open};
pub use outcomes::{Count, Outcomes};
pub use running::{Plan, Running};
pub use shadow::Shadow;
pub use share::{Mark, Share, Subject};
pub use watch::{Watch, is_fault};

/// One of the two revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arm {
    /// The one that serves whoever is not chosen.
    Stable,
    /// The new one.
    Candidate,
}

/// Decides which revision serves a request.
pub struct Rollout {
    config: config::Rollout,
    metrics: Arc<Metrics>,
    /// What outlives the process, if anything does.
    store: Option<Store>,
    state: RwLock<State>,
    /// Held by whoever stores what is running.
    turn: Mutex<()>,
    /// How often something changed that has to be stored, and how much of that is.
    changes: AtomicU64,
    kept: AtomicU64,
    changed: Notify,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Running>>,
    last: Option<Ended>,
    /// How often the operator took something back, or meant to.
    taken_back: u64,
}

impl State {
    /// Whether the roll-out of these outcomes goes on.
    fn is_running(&self, outcomes: &Arc<Outcomes>) -> bool {
        self.running.as_ref().is_some_and(|now| Arc::ptr_eq(&now.outcomes, outcomes))
    }
}

/// What a candidate was opened after: it does not begin when the operator took everything back meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Since(u64);

/// Which revision serves a request, and what counts it.
pub struct Route {
    /// The revision: one snapshot for all of the request.
    pub pool: Arc<Pool>,
    arm: Arm,
    running: Option<Arc<Running>>,
    shadowed: bool,
}

impl Route {
    /// Whether the candidate serves it.
    pub fn is_candidate(&self) -> bool {
        self.arm == Arm::Candidate
    }
}

impl Rollout {
    /// Serves the stable revision alone. What begins is kept in `store`.
    pub fn new(config: config::Rollout, metrics: Arc<Metrics>, store: Option<Store>) -> Self {
        Self {
            config,
            metrics,
            store,
            state: RwLock::default(),
            turn: Mutex::default(),
            changes: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// The roll-out that is running.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.read().running.clone()
    }

    /// The last one that ended.
    pub fn last(&self) -> Option<Ended> {
        self.read().last.clone()
    }

    /// The revision for `subject`.
    pub fn route(&self, engine: &Engine, subject: &Subject<'_>) -> Route {
        let running = self.running();
        let salt = &self.config.salt;
        let chosen = |running: &&Arc<Running>| running.plan.share.contains(subject, salt, running.pool().revision());
        let chosen = running.as_ref().filter(chosen);
        let shadowed = chosen.is_some_and(|running| running.plan.shadow);
        let (arm, pool) = match chosen.filter(|_| !shadowed) {
            Some(running) => (Arm::Candidate, running.pool().clone()),
            None => (Arm::Stable, engine.pool()),
        };
        Route { pool, arm, running, shadowed }
    }

    /// What the candidate is to generate beside the answer of `route`.
    pub fn shadow(self: &Arc<Self>, route: &Route) -> Option<Shadow> {
        let running = route.running.clone().filter(|_| route.shadowed)?;
        let watch = Watch::new(self, Some(running.clone()), Arm::Candidate);
        Some(Shadow::new(running, watch, self.metrics.clone()))
    }

    /// What counts a generation on `route`.
    pub fn watch(self: &Arc<Self>, route: &Route) -> Watch {
        Watch::new(self, route.running.clone(), route.arm)
    }

    /// Now, for [`Self::begin`].
    pub fn since(&self) -> Since {
        Since(self.read().taken_back)
    }

    /// Makes the candidate the stable revision; `false` when no roll-out is running any more.
    ///
    /// # Errors
    /// As [`Engine::reload`]; nothing changes then.
    pub fn promote(&self, engine: &Engine) -> Result<bool, EngineError> {
        // Held all the time, which is short: the candidate is ready, so it cannot be rolled back half-way.
        let mut state = self.write();
        let Some(running) = state.running.clone() else { return Ok(false) };
        engine.reload(running.pool().clone())?;
        self.end(&mut state, Cause::Promoted, None);
        Ok(true)
    }

    /// Serves the stable revision to everybody from now on; `false` when it did already. Generations of the candidate end
    /// on it.
    pub fn take_back(&self) -> bool {
        let mut state = self.write();
        state.taken_back += 1;
        self.end(&mut state, Cause::Operator, None)
    }

    /// Counts how a generation ended that began during the roll-out of `outcomes`.
    fn record(&self, outcomes: &Arc<Outcomes>, arm: Arm, failed: bool) {
        let Some(reason) = outcomes.push(arm, failed, &self.config) else { return };
        let mut state = self.write();
        // It may have ended already, and another one may be running.
        if state.is_running(outcomes) {
            self.end(&mut state, Cause::Errors, Some(reason));
        }
    }

    fn end(&self, state: &mut State, cause: Cause, detail: Option<String>) -> bool {
        let Some(running) = state.running.take() else { return false };
        running.over.cancel();
        let ended = Ended::new(&running, cause, detail);
        self.metrics.rollout_ended(cause);
        let (revision, detail) = (&ended.revision, ended.detail.as_deref());
        match detail {
            Some(detail) => tracing::error!(revision, detail, "the candidate was rolled back"),
            None => tracing::info!(revision, cause = cause.name(), "the roll-out ended"),
        }
        state.last = Some(ended);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
