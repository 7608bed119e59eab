//! What every handler can reach.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tureen_engine::Engine;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::config::Config;
use crate::learning::Recent;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::profiles::Profiles;
use crate::rollout::Rollout;
use crate::store::Store;

/// The running server's parts. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    /// The inference engine; it also holds the current pool.
    pub engine: Engine,
    /// The validated configuration.
    pub config: Arc<Config>,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// What outlives the process; `None` when `[store] url` is empty.
    pub store: Option<Store>,
    /// The profiles in it.
    pub profiles: Option<Arc<Profiles>>,
    /// Answers that feedback can name.
    pub recent: Arc<Recent>,
    /// What was answered; `None` when `[audit] dir` is empty.
    pub audit: Option<Arc<Audit>>,
    /// Serving, draining, gone.
    pub lifecycle: Lifecycle,
    /// Which revision serves whom.
    pub rollout: Arc<Rollout>,
    /// Held during a reload, and while a roll-out is begun, changed or ended: one at a time.
    pub reloading: Arc<Mutex<()>>,
    /// Unix time of the start, in seconds.
    pub started_at: u64,
}

impl App {
    /// An app around a started engine, for those whom `auth` lets in.
    pub fn new(engine: Engine, config: Config, store: Option<Store>, auth: Auth, audit: Option<Audit>) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let profiles = store.clone().map(|store| Profiles::new(store, config.store.cached_profiles));
        let metrics = Arc::<Metrics>::default();
        Self {
            engine,
            rollout: Arc::new(Rollout::new(config.rollout.clone(), metrics.clone(), store.clone())),
            metrics,
            auth: Arc::new(auth),
            profiles: profiles.map(Arc::new),
            recent: Arc::new(Recent::new(&config.learning, store.as_ref())),
            store,
            audit: audit.map(Arc::new),
            config: Arc::new(config),
            lifecycle: Lifecycle::default(),
            reloading: Arc::default(),
            started_at,
        }
    }
}
