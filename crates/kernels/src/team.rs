//! A small team of threads that does one phase of work after another.
//!
//! A phase is a number of units. Whoever is free takes the next one, so a thread that the system keeps waiting holds up
//! one unit and not its share. Threads spin briefly for the next phase, then give their core away, then sleep: on a busy
//! machine spinning costs more than it saves.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Spins before the clock is looked at.
const SPINS: u32 = 400;
/// How long an idle thread gives its core away again and again before it sleeps: longer than the gap between two steps.
const PATIENCE: Duration = Duration::from_micros(300);
/// Bits for units and for the next unit in [`Shared::ticket`]; the rest counts phases.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;

type Work = dyn Fn(usize) + Sync;

struct Shared {
    /// Phase, its number of units, and the next unit, in one word: taking a unit tells which phase it belongs to.
    ticket: AtomicU64,
    done: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    work: UnsafeCell<Option<*const Work>>,
}

// SAFETY: `work` is written by `run` alone, between phases; a thread reads it only while it holds a unit of the phase, and
// `run` does not return before every unit is done. What it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// Threads that work together. Dropping the team ends them.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One phase at a time.
    turn: Mutex<()>,
}

impl Team {
    /// A team of `threads`, the caller of [`Self::run`] counted; 0 takes every core.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
        });
        let mut team = Self { shared, workers: Vec::new(), turn: Mutex::new(()) };
        for i in 1..threads {
            let shared = team.shared.clone();
            let builder = std::thread::Builder::new().name(format!("tureen-compute-{i}"));
            team.workers.push(builder.spawn(move || shared.serve())?);
        }
        Ok(team)
    }

    /// Threads, the caller counted.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Does `work(0) .. work(units - 1)`, in any order and on any thread, and returns when all are done. Not from inside
    /// a unit.
    ///
    /// # Panics
    /// When a unit panicked, after all others are done; or with more than a million units.
    pub fn run(&self, units: usize, work: &(dyn Fn(usize) + Sync)) {
        if units <= 1 {
            (0..units).for_each(work);
            return;
        }
        assert!((units as u64) < MASK / 2, "{units} units");
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime is forgotten: nobody calls it after `run` returned, see `Shared`.
        let work: *const Work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), *const Work>(work) };
        // SAFETY: no unit is out, so nobody reads.
        unsafe { *shared.work.get() = Some(work) };
        shared.done.store(0, Relaxed);
        shared.panicked.store(false, Relaxed);
        let phase = (shared.ticket.load(Relaxed) >> (2 * BITS)).wrapping_add(1);
        shared.ticket.store(phase << (2 * BITS) | (units as u64) << BITS, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            self.workers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        }
        shared.work_on();
        let mut waits = 0_u32;
        while shared.done.load(Acquire) < units {
            waits += 1;
            if waits < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let panicked = shared.panicked.load(Relaxed);
        drop(turn);
        assert!(!panicked, "a unit of work panicked");
    }
}

impl Shared {
    /// Takes units until none is left.
    fn work_on(&self) {
        loop {
            let ticket = self.ticket.fetch_add(1, Acquire);
            let (units, unit) = (ticket >> BITS & MASK, ticket & MASK);
            if unit >= units {
                return;
            }
            // SAFETY: this unit is not done, so `run` has not returned: the pointer is this phase's and alive.
            let work = unsafe { (*self.work.get()).map(|work| &*work) };
            let outcome = catch_unwind(AssertUnwindSafe(|| work.map(|work| work(unit as usize))));
            if outcome.is_err() {
                self.panicked.store(true, Relaxed);
            }
            self.done.fetch_add(1, Release);
        }
    }

    fn serve(&self) {
        let mut seen = self.phase();
        loop {
            self.await_phase(seen);
            if self.stop.load(Acquire) {
                return;
            }
            seen = self.phase();
            self.work_on();
        }
    }

    fn phase(&self) -> u64 {
        self.ticket.load(SeqCst) >> (2 * BITS)
    }

    fn await_phase(&self, seen: u64) {
        let news = || self.phase() != seen || self.stop.load(Acquire);
        for _ in 0..SPINS {
            if news() {
                return;
            }
            std::hint::spin_loop();
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if news() {
                return;
            }
            std::thread::yield_now();
        }
        // Told before the last look: `run` publishes first and looks for sleepers then, so one of the two sees the other.
        self.sleepers.fetch_add(1, SeqCst);
        while !news() {
            std::thread::park();
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its units, so it has none of its own to tell.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} threads", self.threads())
    }
}
