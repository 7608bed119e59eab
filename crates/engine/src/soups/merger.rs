//! The thread that merges soups, beside the scheduler: a merge never holds up a step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tureen_kernels::Isa;
use tureen_soup::{Pool, Soup, merge};

use super::accelerator::Accelerator;
use super::cell::{SoupCell, State};
use super::merging::Merging;
use crate::checkpoint::Checkpoint;
use crate::model::{Model, Weights};

/// Merges that may wait.
const QUEUE: usize = 256;

/// A soup to merge. The cell may be gone before its turn comes: then nobody wants it any more.
pub(super) struct Job {
    pub(super) pool: Arc<Pool>,
    pub(super) soup: Arc<Soup>,
    pub(super) cell: Weak<SoupCell>,
}

/// Merges soups one after the other, tensors in parallel.
pub(crate) struct Merger {
    jobs: mpsc::SyncSender<Job>,
    materials: Materials,
    counts: Arc<Counts>,
}

/// What a soup is made from.
#[derive(Clone)]
pub(crate) struct Materials {
    /// The base's own values: merged weights are rounded once, from these.
    pub(crate) checkpoint: Arc<Checkpoint>,
    /// The packed base, for what a soup leaves alone.
    pub(crate) base: Arc<Weights>,
    pub(crate) model: Arc<Model>,
    pub(crate) isa: Isa,
    /// A GPU that averages full-weight policies.
    pub(crate) accelerator: Option<Arc<Accelerator>>,
}

/// What the merger has done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) merges: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) microseconds: AtomicU64,
}

impl Merger {
    /// Starts the thread. `settled` is called after each merge.
    pub(crate) fn start(
        materials: Materials,
        threads: rayon::ThreadPool,
        settled: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, work) = mpsc::sync_channel::<Job>(QUEUE);
        let counts = Arc::<Counts>::default();
        let (counted, from) = (counts.clone(), materials.clone());
        std::thread::Builder::new().name("tureen-merger".into()).spawn(move || {
            while let Ok(Job { pool, soup, cell }) = work.recv() {
                let Some(cell) = cell.upgrade() else { continue };
                let begun = Instant::now();
                let state = merged(&from, &pool, &soup, &threads);
                let failed = matches!(state, State::Failed(_));
                counted.merges.fetch_add(1, Ordering::Relaxed);
                counted.failures.fetch_add(failed.into(), Ordering::Relaxed);
                counted.microseconds.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                cell.settle(state);
                // First: whoever looks for room now must find the soup in nobody's hands.
                drop(cell);
                settled();
            }
        })?;
        Ok(Self { jobs, materials, counts })
    }

    /// Bytes of the tensors that `soup` changes, packed.
    pub(super) fn bytes(&self, pool: &Pool, soup: &Soup) -> u64 {
        let Materials { checkpoint, model, .. } = &self.materials;
        let touched = merge::touched(pool, soup);
        model.layout().bytes(touched.iter().map(|name| (name.as_str(), checkpoint.shape(name).unwrap_or_default())))
    }

    pub(super) fn send(&self, job: Job) {
        let (job, reason) = match self.jobs.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, "too many merges are waiting"),
            Err(TrySendError::Disconnected(job)) => (job, "the merger stopped"),
        };
        if let Some(cell) = job.cell.upgrade() {
            cell.settle(State::Failed(reason.into()));
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

fn merged(from: &Materials, pool: &Pool, soup: &Soup, threads: &rayon::ThreadPool) -> State {
    let work = || {
        let source = Merging::new(from, pool, soup);
        threads.install(|| from.base.derive(from.model.layout(), &source))
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(weights)) => State::Ready(Arc::new(weights)),
        Ok(Err(error)) => State::Failed(error.to_string()),
        Err(_) => State::Failed("the merge crashed".into()),
    }
}
