//! The thread that owns the batch: admits, plans, computes, samples, and lets go.
//!
//! Invariant: nothing here blocks on a client, a merge or a lock that another thread holds while it works.

mod logits;
mod plan;
mod sequence;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use tureen_kernels::Compute;

pub(crate) use logits::LogitsJob;
pub(crate) use sequence::{Admitted, Place, Sequence, Served};

use crate::error::GenerationError;
use crate::model::{Batch, KvCache, Model, Scratch, Weights};
use crate::soups::State;
use crate::stats::Counters;

/// What other threads ask of the scheduler.
pub(crate) enum Command {
    Submit(Box<Sequence>),
    Logits(Box<LogitsJob>),
    /// Something changed: a merge is done, or a client left.
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
    pub(crate) counters: Arc<Counters>,
    pub(crate) max_batch_rows: usize,
    pub(crate) prefill_chunk: usize,
}

/// The scheduler's state. Only its own thread touches it.
pub(crate) struct Scheduler {
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    scratch: Scratch,
    #[cfg(test)]
    panic_next: bool,
}

impl Scheduler {
    pub(crate) fn new(setup: Setup, commands: mpsc::Receiver<Command>) -> Self {
        let scratch = setup.model.scratch();
        Self {
            setup,
            commands,
            waiting: VecDeque::new(),
            running: Vec::new(),
            scratch,
            #[cfg(test)]
            panic_next: false,
        }
    }

    /// Works until it is shut down or nobody can ask any more.
    pub(crate) fn run(mut self) {
        loop {
            self.let_go();
            self.admit();
            self.setup.counters.running.store(self.running.len(), Relaxed);
            let command = if self.running.is_empty() {
                match self.commands.recv() {
                    Ok(command) => Some(command),
                    Err(mpsc::RecvError) => return,
                }
            } else {
                self.commands.try_recv().ok()
            };
            match command {
                Some(Command::Shutdown) => return self.shut_down(),
                Some(command) => self.take(command),
                None => self.step(),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(sequence) => self.waiting.push_back(*sequence),
            Command::Logits(job) => job.run(&self.setup),
            Command::Wake | Command::Shutdown => {}
            #[cfg(test)]
            Command::Panic => self.panic_next = true,
        }
    }

    /// Drops what nobody waits for.
    fn let_go(&mut self) {
        self.running.retain(|s| !s.is_abandoned());
        self.waiting.retain(|s| !s.is_abandoned());
    }

    /// Fills free rows with the longest waiting whose soup is ready.
    fn admit(&mut self) {
        let mut still = VecDeque::with_capacity(self.waiting.len());
        for sequence in self.waiting.drain(..) {
            let free = self.running.len() < self.setup.max_batch_rows;
            match &sequence.served {
                Served::Materialised(cell) => match cell.state() {
                    State::Failed(reason) => sequence.fail(GenerationError::Merge(reason)),
                    State::Ready(_) if free => self.running.push(sequence),
                    State::Ready(_) | State::Pending => still.push_back(sequence),
                },
                Served::Gate(_) if free => self.running.push(sequence),
                Served::Gate(_) => still.push_back(sequence),
            }
        }
        self.waiting = still;
    }

    fn step(&mut self) {
        let begun = Instant::now();
        let plan = plan::plan(&self.running, &self.setup.base, self.setup.prefill_chunk);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.compute(&plan)));
        let counters = &self.setup.counters;
        counters.steps.fetch_add(1, Relaxed);
        counters.step_microseconds.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        match outcome {
            Ok(ended) => {
                let mut index = 0;
                self.running.retain(|_| {
                    index += 1;
                    !ended.contains(&(index - 1))
                });
            }
            Err(_) => self.contain(&plan),
        }
    }

    /// Computes the plan and samples; gives the sequences that ended.
    fn compute(&mut self, plan: &plan::Plan) -> Vec<usize> {
        #[cfg(test)]
        assert!(!std::mem::take(&mut self.panic_next), "injected by a test");
        let Setup { model, compute, counters, .. } = &self.setup;
        let batch = Batch { rows: &plan.rows, groups: &plan.groups };
        let mut caches: Vec<&mut KvCache> = self.running.iter_mut().map(|s| &mut s.cache).collect();
        let scratch = &mut self.scratch;
        let logits = model.forward(compute, &batch, &mut caches, scratch);
        let gated = plan.groups.iter().filter(|g| g.gates.is_some()).map(|g| g.rows.len() as u64).sum();
        counters.gate_tokens.fetch_add(gated, Relaxed);
        for (sequence, count) in self.running.iter_mut().zip(&plan.counts) {
            if !sequence.is_decoding() {
                counters.prefill_tokens.fetch_add(*count as u64, Relaxed);
            }
            sequence.computed += count;
        }
        counters.decode_tokens.fetch_add(plan.sampled.len() as u64, Relaxed);
        let rows = logits.chunks_exact(model.config().vocab_size);
        let sampled = plan.sampled.iter().zip(rows);
        sampled.filter(|(index, row)| !self.running[**index].advance(row)).map(|(index, _)| *index).collect()
    }

    /// After a crash: the step's sequences end with an error, the others go on with fresh buffers.
    fn contain(&mut self, plan: &plan::Plan) {
        self.setup.counters.panics.fetch_add(1, Relaxed);
        tracing::error!(rows = plan.rows.len(), "a step crashed; its requests were ended");
        self.scratch = self.setup.model.scratch();
        let mut index = 0;
        self.running.retain(|sequence| {
            index += 1;
            let hit = plan.counts[index - 1] > 0;
            if hit {
                sequence.fail(GenerationError::Panicked);
            }
            !hit
        });
    }

    fn shut_down(mut self) {
        let all = self.running.drain(..).chain(self.waiting.drain(..));
        all.for_each(|sequence| sequence.fail(GenerationError::ShuttingDown));
        // What was sent after the shutdown gets an answer too.
        for command in self.commands.try_iter() {
            match command {
                Command::Submit(sequence) => sequence.fail(GenerationError::ShuttingDown),
                Command::Logits(job) => job.refuse(GenerationError::ShuttingDown),
                _ => {}
            }
        }
        self.setup.counters.running.store(0, Relaxed);
    }
}
