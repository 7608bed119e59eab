//! A running generation, as its owner holds it.

use std::sync::mpsc::SyncSender;

use tokio::sync::mpsc::Receiver;

use crate::event::{Event, SoupPath};
use crate::scheduler::Command;

/// A running generation. Dropping it ends the work within one step and frees its memory.
#[derive(Debug)]
pub struct Generation {
    path: SoupPath,
    // Before `_leave`: the channel must be closed when the scheduler wakes to look.
    events: Receiver<Event>,
    _leave: Leave,
}

#[derive(Debug)]
struct Leave(SyncSender<Command>);

impl Generation {
    pub(crate) fn new(path: SoupPath, events: Receiver<Event>, commands: SyncSender<Command>) -> Self {
        Self { path, events, _leave: Leave(commands) }
    }

    /// How its soup is served.
    #[must_use]
    pub fn path(&self) -> SoupPath {
        self.path
    }

    /// The next event; `None` after the last one, or when the engine is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// As [`Self::next`], for threads outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        // The scheduler may sleep with only this sequence waiting. If its inbox is full it is awake; if it is gone there
        // is nothing to free.
        let _ = self.0.try_send(Command::Wake);
    }
}
