//! Counting one generation.

use std::sync::Arc;

use tokio::time::Instant;

use crate::guard::Decision;
use crate::metrics::{End, Metrics};

/// Counts when dropped, so an answer that a client left counts as well.
pub(super) struct Meter {
    metrics: Arc<Metrics>,
    started: Instant,
    last: Option<Instant>,
    end: End,
}

impl Meter {
    pub(super) fn new(metrics: Arc<Metrics>, started: Instant) -> Self {
        Self { metrics, started, last: None, end: End::Abort }
    }

    pub(super) fn token(&mut self) {
        let now = Instant::now();
        match self.last {
            None => self.metrics.first_token(now - self.started),
            Some(last) => self.metrics.inter_token(now - last),
        }
        self.last = Some(now);
    }

    pub(super) fn guarded(&self, decisions: &[Decision]) {
        self.metrics.guarded(decisions);
    }

    pub(super) fn finished(&mut self, end: End, prompt_tokens: usize, generated_tokens: usize) {
        self.end = end;
        self.metrics.tokens(prompt_tokens, generated_tokens);
    }

    pub(super) fn failed(&mut self) {
        self.end = End::Error;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.ended(self.end, self.started.elapsed());
    }
}
