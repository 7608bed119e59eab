//! The thread that owns the batch: admits, plans, computes, samples, and lets go.
//!
//! Invariant: nothing here blocks on a client, a merge or a lock that another thread holds while it works.

mod draft;
mod logits;
mod plan;
mod queue;
mod room;
mod score;
mod sequence;
mod served;
mod share;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvError};
use std::time::Instant;

use tureen_kernels::{Compute, Likelihood};

pub(crate) use logits::LogitsJob;
pub(crate) use score::{ScoreJob, Scored};
pub(crate) use sequence::{Admitted, Place, Rank, Sequence};
pub(crate) use served::{Merged, Served};

use crate::budget::Budget;
use crate::error::GenerationError;
use crate::kv::Kv;
use crate::model::{Batch, Logits, Model, Scratch, Weights};
use crate::sampling::{After, Choosing};
use crate::soups::SoupCache;
use crate::stats::Counters;
use plan::Plan;

/// Rows that drafts may fill a step up to: so many are computed in little more time than one.
const DRAFTED_ROWS: usize = 16;

use queue::Queue;
use score::Scoring;

/// What other threads ask of the scheduler.
pub(crate) enum Command {
    Submit(Box<Sequence>),
    Logits(Box<LogitsJob>),
    Score(Box<ScoreJob>),
    /// Something changed: a merge is done, memory came back, or a client left.
    Wake,
    Shutdown,
    #[cfg(test)]
    Panic,
}

/// What the scheduler needs besides its commands.
pub(crate) struct Setup {
    pub(crate) model: Arc<Model>,
    pub(crate) base: Arc<Weights>,
    pub(crate) compute: Arc<Compute>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) kv: Arc<Kv>,
    pub(crate) soups: Arc<SoupCache>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) max_batch_rows: usize,
    pub(crate) prefill_chunk: usize,
    pub(crate) speculation: bool,
}

impl Setup {
    /// Buffers for a step.
    fn scratch(&self) -> Scratch {
        self.model.scratch(self.compute.isa())
    }
}

/// The scheduler's state. Only its own thread touches it.
pub(crate) struct Scheduler {
    setup: Setup,
    commands: Receiver<Command>,
    queue: Queue,
    /// Ordered by arrival.
    running: Vec<Sequence>,
    /// Texts to score, a piece after each step.
    scoring: Scoring,
    plan: Plan,
    scratch: Scratch,
    likelihoods: Vec<Likelihood>,
    choosing: Choosing,
    /// The device does not answer any more.
    lost: bool,
    #[cfg(test)]
    panic_next: bool,
}

impl Scheduler {
    pub(crate) fn new(setup: Setup, commands: Receiver<Command>) -> Self {
        let (scratch, running) = (setup.scratch(), Vec::with_capacity(setup.max_batch_rows));
        let choosing = Choosing::new(setup.model.config().vocab_size);
        Self {
            setup,
            commands,
            queue: Queue::default(),
            running,
            scoring: Scoring::default(),
            plan: Plan::default(),
            scratch,
            likelihoods: Vec::new(),
            choosing,
            lost: false,
            #[cfg(test)]
            panic_next: false,
        }
    }

    /// Works until it is shut down, nobody can ask any more, or its device is lost.
    pub(crate) fn run(mut self) {
        loop {
            self.let_go();
            self.admit();
            let idle = self.running.is_empty() && self.scoring.is_empty();
            let command = if idle { self.rest() } else { Ok(self.commands.try_recv().ok()) };
            match command {
                Err(RecvError) => return,
                Ok(Some(Command::Shutdown)) => return self.shut_down(),
                Ok(Some(command)) => self.take(command),
                Ok(None) => {
                    self.step();
                    if !self.lost && !self.scoring.step(&self.setup, &mut self.scratch, &mut self.likelihoods) {
                        self.look();
                    }
                }
            }
            if self.lost {
                tracing::error!("the GPU does nothing any more; the engine stops");
                return self.shut_down();
            }
        }
    }

    /// Waits for a command, unless memory came back for one that waits for it.
    fn rest(&mut self) -> Result<Option<Command>, RecvError> {
        self.setup.kv.rest();
        if !self.queue.is_empty() {
            self.setup.budget.await_release();
            self.admit();
        }
        self.count_running();
        if self.running.is_empty() { self.commands.recv().map(Some) } else { Ok(None) }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(sequence) => self.queue.enter(*sequence, &self.running),
            Command::Logits(job) => {
                if !job.run(&self.setup) {
                    self.look();
                }
            }
            Command::Score(job) => self.scoring.enter(*job),
            Command::Wake | Command::Shutdown => {}
            #[cfg(test)]
            Command::Panic => self.panic_next = true,
        }
    }

    /// Drops what nobody waits for.
    fn let_go(&mut self) {
        self.running.retain(|sequence| !sequence.is_abandoned());
        self.queue.retain(|sequence| !sequence.is_abandoned());
        self.scoring.let_go();
    }

    fn count_running(&self) {
        let shadows = self.running.iter().filter(|sequence| sequence.is_shadow()).count();
        self.setup.counters.running.store(self.running.len() - shadows, Relaxed);
        self.setup.counters.shadows.store(shadows, Relaxed);
    }

    fn step(&mut self) {
        let begun = Instant::now();
        self.secure();
        self.count_running();
        if self.running.is_empty() {
            return;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| self.compute())).unwrap_or(Err(GenerationError::Panicked));
        let counters = &self.setup.counters;
        counters.steps.fetch_add(1, Relaxed);
        counters.step_microseconds.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        if let Err(error) = outcome {
            self.contain(&error);
        }
        self.plan.clear();
        self.running.retain(|sequence| !sequence.ended);
    }

    /// Plans, computes and samples.
    fn compute(&mut self) -> Result<(), GenerationError> {
        let Setup { model, base, compute, counters, prefill_chunk, speculation, .. } = &self.setup;
        let (running, plan) = (&mut self.running, &mut self.plan);
        for sequence in running.iter_mut().filter(|sequence| !sequence.is_decoding()) {
            // Others may have computed what this one is about to.
            counters.prefix_hit_tokens.fetch_add(sequence.find_prefix() as u64, Relaxed);
        }
        if *speculation {
            draft(running, counters);
        }
        plan.make(running, base, *prefill_chunk);
        #[cfg(test)]
        assert!(!std::mem::take(&mut self.panic_next), "injected by a test");
        let vocabulary = model.config().vocab_size;
        let chooses = model.device().is_some();
        if chooses {
            plan.describe(running, vocabulary);
        }
        let choices = chooses.then_some(&plan.choices);
        let batch = Batch { rows: &plan.rows, mixes: &plan.mixes, groups: &plan.groups, choices };
        let caches = running.iter_mut().map(|sequence| &mut sequence.cache);
        let logits = model.forward(compute, &batch, caches, &mut self.scratch);
        let logits = logits.map_err(|e| GenerationError::of_device(&e))?;
        let gated = plan.groups.iter().filter(|g| g.gates.is_some()).map(|g| g.rows.len() as u64).sum();
        counters.gate_tokens.fetch_add(gated, Relaxed);
        for (sequence, count) in
            running.iter_mut().zip(&plan.counts).filter(|(s, count)| **count > 0 && !s.is_decoding())
        {
            counters.prefill_tokens.fetch_add(*count as u64, Relaxed);
            sequence.cache.advance(*count);
            sequence.share_prefix();
        }
        match logits {
            Logits::All(logits) => {
                self.likelihoods.resize(plan.sampled.len(), Likelihood::default());
                compute.likelihoods(logits, vocabulary, &mut self.likelihoods);
                let rows = logits.chunks_exact(vocabulary).zip(&self.likelihoods);
                advance(running, plan, rows.map(|(l, sum)| After::Logits(l, sum)), &mut self.choosing, counters);
            }
            Logits::Chosen(chosen) => {
                advance(running, plan, chosen.iter().map(After::Chosen), &mut self.choosing, counters);
            }
        }
        Ok(())
    }

    /// After a step that failed: its sequences end with the error, the others go on with fresh buffers.
    fn contain(&mut self, error: &GenerationError) {
        self.setup.counters.panics.fetch_add(1, Relaxed);
        tracing::error!(rows = self.plan.rows.len(), %error, "a step failed; its requests were ended");
        self.scratch = self.setup.scratch();
        self.look();
        // Shorter when planning itself crashed: then it may be any of them.
        let counts = self.plan.counts.iter().copied().chain(std::iter::repeat(1));
        for (sequence, _) in self.running.iter_mut().zip(counts).filter(|(s, count)| *count > 0 && !s.ended) {
            sequence.fail(error.clone());
        }
    }

    /// After a failure: whether the device is still there.
    fn look(&mut self) {
        self.lost = self.setup.model.device().is_some_and(|device| !device.responds());
    }

    fn shut_down(mut self) {
        let all = self.running.drain(..).chain(self.queue.drain());
        all.for_each(|mut sequence| sequence.fail(GenerationError::ShuttingDown));
        self.scoring.drain().for_each(|job| job.refuse(GenerationError::ShuttingDown));
        // What was sent after the shutdown gets an answer too.
        for command in self.commands.try_iter() {
            match command {
                Command::Submit(mut sequence) => sequence.fail(GenerationError::ShuttingDown),
                Command::Logits(job) => job.refuse(GenerationError::ShuttingDown),
                Command::Score(job) => job.refuse(GenerationError::ShuttingDown),
                _ => {}
            }
        }
        self.count_running();
    }
}

/// Gives each sequence what is known behind its rows.
fn advance<'a>(
    running: &mut [Sequence],
    plan: &Plan,
    mut rows: impl Iterator<Item = After<'a>> + Clone,
    choosing: &mut Choosing,
    counters: &Counters,
) {
    for own in plan.sampled.chunk_by(|a, b| a == b) {
        running[own[0]].advance(rows.clone().take(own.len()), choosing, counters);
        rows.nth(own.len() - 1);
    }
}

/// Drafts for a step in which all decode: beside a prompt, each row is dear.
fn draft(running: &mut [Sequence], counters: &Counters) {
    let rows = running.len();
    if 2 * rows > DRAFTED_ROWS || !running.iter().all(Sequence::is_decoding) {
        return;
    }
    for sequence in running {
        sequence.draft(rows, DRAFTED_ROWS / rows - 1);
        counters.drafted_tokens.fetch_add(sequence.drafted() as u64, Relaxed);
    }
}
