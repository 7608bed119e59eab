//! Failures that the twin has on purpose.

use std::sync::atomic::{AtomicU32, Ordering};

use candle_core::{Result, bail};

use crate::options::Fault;

/// Counts steps, and fails in the one that it was told.
#[derive(Debug)]
pub(super) struct Faults {
    planned: Fault,
    steps: AtomicU32,
}

impl Faults {
    pub(super) fn new(planned: Fault) -> Self {
        Self { planned, steps: AtomicU32::new(0) }
    }

    /// One step more.
    pub(super) fn strike(&self) -> Result<()> {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        match self.planned {
            Fault::Error { at } if step == at => bail!("an error, as was asked for"),
            Fault::Lost { at } if step >= at => bail!("lost, as was asked for"),
            Fault::Error { .. } | Fault::Lost { .. } => Ok(()),
        }
    }

    /// Whether it does not answer any more.
    pub(super) fn is_lost(&self) -> bool {
        let steps = self.steps.load(Ordering::Relaxed);
        matches!(self.planned, Fault::Lost { at } if steps >= at)
    }
}
