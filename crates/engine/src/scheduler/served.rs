//! Where a sequence's parameters come from.

use std::sync::Arc;

use tureen_soup::{Pool, Soup};

use crate::model::{Gates, Mix, Weights};
use crate::soups::{SoupCache, SoupCell, State};

/// Where a sequence's parameters come from.
pub(crate) enum Served {
    /// The base, with a gate unless the soup is the base itself.
    Gate(Option<(Arc<Gates>, Arc<Mix>)>),
    /// Merged weights.
    Materialised(Merged),
}

/// A soup that is merged, is being merged, or will be once there is room.
pub(crate) struct Merged {
    pub(crate) pool: Arc<Pool>,
    pub(crate) soup: Arc<Soup>,
    pub(crate) cell: Option<Arc<SoupCell>>,
}

/// Whether a sequence's parameters are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Ready,
    Pending,
    /// Nobody merges it yet.
    Released,
    Failed,
}

impl Served {
    pub(super) fn standing(&self) -> Standing {
        let Self::Materialised(merged) = self else { return Standing::Ready };
        match merged.cell.as_ref().map(|cell| cell.state()) {
            None => Standing::Released,
            Some(State::Ready(_)) => Standing::Ready,
            Some(State::Pending) => Standing::Pending,
            Some(State::Failed(_)) => Standing::Failed,
        }
    }

    /// Why the merge failed, when it did.
    pub(super) fn failure(&self) -> Option<String> {
        let Self::Materialised(Merged { cell: Some(cell), .. }) = self else { return None };
        match cell.state() {
            State::Failed(reason) => Some(reason),
            State::Ready(_) | State::Pending => None,
        }
    }

    /// Has the soup merged if nobody did; `false` when there is no room for it.
    pub(super) fn acquire(&mut self, soups: &SoupCache) -> bool {
        let Self::Materialised(merged) = self else { return true };
        if merged.cell.is_none() {
            merged.cell = soups.get(&merged.pool, &merged.soup).ok();
        }
        merged.cell.is_some()
    }

    /// Whether it keeps merged weights in memory.
    pub(super) fn holds_soup(&self) -> bool {
        matches!(self, Self::Materialised(Merged { cell: Some(_), .. }))
    }

    /// Lets go of merged weights.
    pub(super) fn release(&mut self) {
        if let Self::Materialised(merged) = self {
            merged.cell = None;
        }
    }

    /// The parameters; `None` before they are there.
    pub(super) fn weights(&self, base: &Arc<Weights>) -> Option<Arc<Weights>> {
        let Self::Materialised(merged) = self else { return Some(base.clone()) };
        match merged.cell.as_ref()?.state() {
            State::Ready(weights) => Some(weights),
            State::Pending | State::Failed(_) => None,
        }
    }

    /// The gate of its rows, where they have one.
    pub(super) fn mix(&self) -> Option<&Arc<Mix>> {
        match self {
            Self::Gate(gate) => gate.as_ref().map(|(_, mix)| mix),
            Self::Materialised(_) => None,
        }
    }

    /// Sequences with equal keys share weights and stacked policies.
    pub(super) fn group_key(&self) -> (usize, usize) {
        match self {
            Self::Gate(None) => (0, 0),
            Self::Gate(Some((gates, _))) => (0, Arc::as_ptr(gates).addr()),
            Self::Materialised(merged) => (merged.cell.as_ref().map_or(0, |cell| Arc::as_ptr(cell).addr()), 0),
        }
    }
}
