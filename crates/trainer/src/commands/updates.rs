//! The progress of a training that tells a loss for each update.

use indicatif::ProgressBar;

use super::progress::bar;

/// A bar, and the losses so far.
pub(super) struct Updates {
    bar: ProgressBar,
    losses: Vec<f64>,
}

impl Updates {
    pub(super) fn new() -> Self {
        Self { bar: bar(0, "updates"), losses: Vec::new() }
    }

    pub(super) fn tell(&mut self, done: u64, all: u64, loss: f64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(format!("loss {loss:.3}"));
        self.losses.push(loss);
    }

    /// The loss of each update.
    pub(super) fn finish(self) -> Vec<f64> {
        self.bar.finish();
        self.losses
    }
}
