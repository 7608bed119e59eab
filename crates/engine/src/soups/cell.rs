//! One materialised soup, from the moment it is asked for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::budget::Lease;
use crate::model::Weights;

/// Where a merge stands.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Pending,
    Ready(Arc<Weights>),
    Failed(String),
}

/// A soup's merged weights, now or soon. The lease goes back when the last owner lets go: the cache or a row.
#[derive(Debug)]
pub(crate) struct SoupCell {
    bytes: u64,
    state: Mutex<State>,
    settled: Condvar,
    _lease: Lease,
}

impl SoupCell {
    pub(super) fn new(bytes: u64, lease: Lease) -> Self {
        Self { bytes, state: Mutex::new(State::Pending), settled: Condvar::new(), _lease: lease }
    }

    /// Bytes of the tensors that differ from the base's.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state(), State::Ready(_))
    }

    /// Waits for the end of the merge. Never from the scheduler's thread.
    pub(crate) fn wait(&self) -> State {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = |state: &mut State| matches!(state, State::Pending);
        self.settled.wait_while(state, pending).unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn settle(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.settled.notify_all();
    }
}
