//! What every handler can reach.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tureen_engine::Engine;

use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// The running server's parts. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    /// The inference engine; it also holds the current pool.
    pub engine: Engine,
    /// The validated configuration.
    pub config: Arc<Config>,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Serving, draining, gone.
    pub lifecycle: Lifecycle,
    /// Held during a reload: one at a time.
    pub reloading: Arc<Mutex<()>>,
    /// Unix time of the start, in seconds.
    pub started_at: u64,
}

impl App {
    /// An app around a started engine.
    pub fn new(engine: Engine, config: Config) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self {
            engine,
            config: Arc::new(config),
            metrics: Arc::default(),
            lifecycle: Lifecycle::default(),
            reloading: Arc::default(),
            started_at,
        }
    }
}
