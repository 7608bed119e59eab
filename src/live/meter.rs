//! Counting one generation.

use tokio::time::Instant;

use crate::guard::Decision;
use crate::metrics::End;
use crate::rollout::Watch;

/// Counts when dropped, so an answer that a client left counts as well.
pub(super) struct Meter {
    watch: Watch,
    started: Instant,
    last: Option<Instant>,
    end: End,
    /// Its revision may be to blame for the error.
    fault: bool,
}

impl Meter {
    pub(super) fn new(watch: Watch, started: Instant) -> Self {
        Self { watch, started, last: None, end: End::Abort, fault: false }
    }

    pub(super) fn token(&mut self) {
        let now = Instant::now();
        match self.last {
            None => self.watch.first_token(now - self.started),
            Some(last) => self.watch.inter_token(now - last),
        }
        self.last = Some(now);
    }

    pub(super) fn guarded(&self, decisions: &[Decision]) {
        self.watch.guarded(decisions);
    }

    pub(super) fn finished(&mut self, end: End, prompt_tokens: usize, generated_tokens: usize) {
        self.end = end;
        self.watch.tokens(prompt_tokens, generated_tokens);
    }

    /// `fault` is whether its revision may be to blame.
    pub(super) fn failed(&mut self, fault: bool) {
        self.end = End::Error;
        self.fault = fault;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.watch.ended(self.end, self.fault, self.started.elapsed());
    }
}
