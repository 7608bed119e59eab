//! The thread that writes, and the handle to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::oneshot;

use super::{AuditError, Event, Keys, Log, LogOptions};
use crate::config::{self, Fsync};
use crate::problem::ApiError;

/// Answers that are running or wait to be written.
const PLACES: usize = 1 << 16;

/// Records that are written together.
const BATCH: usize = 256;

/// How long records may stay unsynced with `fsync = "interval"`, and how soon a folder that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is told about a record that was to be written.
pub(super) type Written = oneshot::Receiver<bool>;

struct Entry {
    event: Event,
    written: Option<oneshot::Sender<bool>>,
}

/// The running audit log.
pub struct Audit {
    keys: Keys,
    text: bool,
    /// Whether an answer ends only when its record is on the disk.
    waits: bool,
    works: Arc<AtomicBool>,
    entries: Mutex<Option<mpsc::Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Room for one record, so that it can be left at any moment without waiting.
pub(super) struct Place(OwnedPermit<Entry>);

impl Audit {
    /// Opens the log and starts its thread. `None` when the configuration keeps none.
    ///
    /// # Errors
    /// See [`Log::open`]; and when the key cannot be read.
    pub fn open(config: &config::Audit) -> Result<Option<Self>, AuditError> {
        let Some(dir) = &config.dir else { return Ok(None) };
        let keys = Keys::open(config)?;
        let waits = config.fsync == Fsync::Always;
        let options = LogOptions { segment_bytes: config.segment_bytes, sync: waits };
        let log = Log::open(dir, keys.clone(), options)?;
        let works = Arc::new(AtomicBool::new(true));
        let (entries, inbox) = mpsc::channel(PLACES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let worker = Worker { log, inbox, works: works.clone(), interval: config.fsync == Fsync::Interval };
        let thread = std::thread::Builder::new().name("tureen-audit".into());
        let thread = thread.spawn(move || runtime.block_on(worker.run()))?;
        let (entries, thread) = (Mutex::new(Some(entries)), Mutex::new(Some(thread)));
        Ok(Some(Self { keys, text: config.text, waits, works, entries, thread }))
    }

    /// Room for the record of an answer that begins.
    ///
    /// # Errors
    /// 503 when the log cannot be written: nothing is answered that would not be recorded.
    pub(super) fn place(&self) -> Result<Place, ApiError> {
        let unavailable = || ApiError::busy("audit_unavailable", "the audit log cannot be written now", 1);
        if !self.works.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        entries.and_then(|entries| entries.try_reserve_owned().ok()).map(Place).ok_or_else(unavailable)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether prompts and answers are recorded.
    pub(super) fn has_text(&self) -> bool {
        self.text
    }

    /// Leaves a record. What is to be waited for before the answer may end, if anything is.
    pub(super) fn leave(&self, place: Place, event: Event) -> Option<Written> {
        let (written, told) = oneshot::channel();
        place.0.send(Entry { event, written: self.waits.then_some(written) });
        self.waits.then_some(told)
    }

    /// Writes what is left and ends the thread. Answers that are still running leave nothing any more.
    pub fn close(&self) {
        drop(self.entries.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the audit thread had crashed");
        }
    }
}

struct Worker {
    log: Log,
    inbox: mpsc::Receiver<Entry>,
    works: Arc<AtomicBool>,
    interval: bool,
}

impl Worker {
    async fn run(mut self) {
        let mut unsynced = false;
        let mut batch = Vec::new();
        loop {
            let idle = !unsynced && self.works.load(Ordering::Acquire);
            let received = self.inbox.recv_many(&mut batch, BATCH);
            let count = if idle { received.await } else { tokio::time::timeout(PAUSE, received).await.unwrap_or(0) };
            if count > 0 {
                self.write(&mut batch);
                unsynced = self.interval;
                continue;
            }
            if self.inbox.is_closed() && self.inbox.is_empty() {
                self.tell(self.log.sync());
                return;
            }
            if unsynced {
                self.tell(self.log.sync());
                unsynced = false;
            } else {
                self.tell(self.log.keep_checkpoint());
            }
        }
    }

    fn write(&mut self, batch: &mut Vec<Entry>) {
        let (events, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|entry| (entry.event, entry.written)).unzip();
        let result = self.log.append(&events);
        let written = result.is_ok();
        self.tell(result);
        for waiting in waiting.into_iter().flatten() {
            // A client that left waits for nothing.
            let _ = waiting.send(written);
        }
    }

    fn tell(&self, result: std::io::Result<()>) {
        let worked = self.works.swap(result.is_ok(), Ordering::AcqRel);
        match result {
            Err(error) if worked => tracing::error!(%error, "the audit log cannot be written; nothing is answered"),
            Ok(()) if !worked => tracing::info!("the audit log can be written again"),
            _ => {}
        }
    }
}
