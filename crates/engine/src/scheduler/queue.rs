//! Who is next.
//!
//! Start-time fair queueing (Goyal et al., 1996), one unit a request: a request's round is the one after its client's
//! last, but never before the round that is being served. Clients that ask at the same time take turns, however many
//! requests each of them has; one that was idle waits for one turn of each of the others.

use super::sequence::{Rank, Sequence};
use super::served::Standing;

/// When a sequence is served: smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket {
    round: u64,
    /// Counts all requests.
    pub(super) arrival: u64,
}

/// The sequences that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Sequence>,
    /// Of the last sequence that began to run.
    round: u64,
    arrivals: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a new request.
    pub(super) fn enter(&mut self, mut sequence: Sequence, running: &[Sequence]) {
        // A shadow takes no turn, neither its own nor its client's.
        let present = self.waiting.iter().chain(running).filter(|s| !s.is_shadow() && !sequence.is_shadow());
        let last = present.filter(|s| s.client == sequence.client).map(|s| s.ticket.round).max();
        let round = last.map_or(self.round, |last| self.round.max(last + 1));
        self.arrivals += 1;
        sequence.ticket = Ticket { round, arrival: self.arrivals };
        self.waiting.push(sequence);
    }

    /// Takes a sequence back whose turn it was; it keeps its ticket.
    pub(super) fn put_back(&mut self, sequence: Sequence) {
        self.waiting.push(sequence);
    }

    /// The first whose soup does not stand in its way. What ran before goes on before others begin, and shadows come last.
    pub(super) fn next(&mut self) -> Option<Sequence> {
        let ready = self.waiting.iter().enumerate().filter(|(_, s)| s.served.standing() != Standing::Pending);
        let (index, _) = ready.min_by_key(|(_, s)| (s.rank, !s.preempted, s.ticket))?;
        let sequence = self.waiting.swap_remove(index);
        self.round = self.round.max(sequence.ticket.round);
        Some(sequence)
    }

    /// Whether a request could begin if it had a row.
    pub(super) fn has_request(&self) -> bool {
        self.waiting.iter().any(|s| s.rank == Rank::Request && s.served.standing() != Standing::Pending)
    }

    /// Keeps those that `keep` says.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Sequence) -> bool) {
        self.waiting.retain_mut(keep);
    }

    /// Lets go of a soup that a waiting sequence holds, the latest one's; `false` when none does. It will be merged again.
    pub(super) fn release_soup(&mut self) -> bool {
        let holders = self.waiting.iter_mut().filter(|s| s.served.holds_soup());
        match holders.max_by_key(|s| s.ticket.arrival) {
            Some(sequence) => sequence.served.release(),
            None => return false,
        }
        true
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Sequence> {
        self.waiting.drain(..)
    }
}
