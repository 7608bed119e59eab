//! Who gets memory when it runs out.
//!
//! In this order, as far as it takes: prefixes kept for prompts to come are given up (the KV store does that by itself),
//! then merged soups that nobody uses, then the pages of the running sequence that came last, which computes them again
//! when its turn comes back, then merged soups that waiting sequences hold. So the running sequence that came first can
//! have all that is left, and admission took nothing whose pages and soup are over the whole budget: it ends, and with it
//! every other one day.

use std::sync::atomic::Ordering::Relaxed;

use super::Scheduler;
use super::sequence::Sequence;
use super::served::Standing;
use crate::error::GenerationError;

/// What became of a sequence whose turn it was.
enum Turn {
    Run,
    Wait,
    NoRoom,
}

impl Scheduler {
    /// Fills free rows with those whose turn it is. Nobody passes one who waits for memory.
    pub(super) fn admit(&mut self) {
        self.queue.retain(|sequence| match sequence.served.failure() {
            Some(reason) => {
                sequence.fail(GenerationError::Merge(reason));
                false
            }
            None => true,
        });
        while self.running.len() < self.setup.max_batch_rows {
            let Some(mut sequence) = self.queue.next() else { return };
            match self.prepare(&mut sequence) {
                Turn::Run => self.begin(sequence),
                Turn::Wait => self.queue.put_back(sequence),
                Turn::NoRoom => {
                    // With nobody at work, only those that wait behind it can be in its way.
                    let again = self.running.is_empty() && self.queue.release_soup();
                    self.queue.put_back(sequence);
                    if !again {
                        return;
                    }
                }
            }
        }
    }

    /// Gets a sequence its soup, and pages for all that it computes before its next token.
    fn prepare(&self, sequence: &mut Sequence) -> Turn {
        let soups = &self.setup.soups;
        if !sequence.served.acquire(soups) {
            return Turn::NoRoom;
        }
        if sequence.served.standing() != Standing::Ready {
            return Turn::Wait;
        }
        let found = sequence.find_prefix();
        // One page for each that runs already, lest this one is sent back at once.
        while !sequence.cache.reserve_beside(sequence.tokens.len(), self.running.len()) {
            if !soups.make_room() {
                sequence.cache.clear();
                return Turn::NoRoom;
            }
        }
        self.setup.counters.prefix_hit_tokens.fetch_add(found as u64, Relaxed);
        Turn::Run
    }

    /// Puts a sequence among the running ones, which are ordered by arrival.
    fn begin(&mut self, sequence: Sequence) {
        let at = self.running.partition_point(|s| s.ticket.arrival < sequence.ticket.arrival);
        self.running.insert(at, sequence);
    }

    /// Sees to it that every running sequence has pages for the next step, those that came first before the others.
    pub(super) fn secure(&mut self) {
        let mut index = 0;
        while let Some(sequence) = self.running.get_mut(index) {
            if sequence.cache.reserve(sequence.tokens.len()) {
                index += 1;
            } else if !(self.setup.soups.make_room() || self.running.len() == 1 && self.queue.release_soup()) {
                self.preempt_last();
            }
        }
    }

    /// Sends the running sequence that came last back to the queue, without its pages.
    fn preempt_last(&mut self) {
        let Some(mut sequence) = self.running.pop() else { return };
        sequence.preempt();
        self.setup.counters.preemptions.fetch_add(1, Relaxed);
        self.queue.put_back(sequence);
    }
}
