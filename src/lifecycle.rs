//! Serving, draining, gone: the two signals everything that lives long listens to.

use tokio_util::sync::CancellationToken;

/// Where the process is in its life. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Lifecycle {
    /// Readiness goes off and new generations are refused; those that run go on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// The grace is over: streams end now with `shutting_down`.
    pub fn cut(&self) {
        self.draining.cancel();
        self.cut.cancel();
    }

    /// Whether [`Lifecycle::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Fires when streams must end.
    pub fn cut_signal(&self) -> CancellationToken {
        self.cut.clone()
    }
}
