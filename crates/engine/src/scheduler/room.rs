//! Who gets memory when it runs out.
//!
//! Shadows go first. Then, in this order, as far as it takes: prefixes kept for prompts to come are given up (the KV store does that by itself),
//! then merged soups that nobody uses, then the pages of the running sequence that came last, which computes them again
//! when its turn comes back, then merged soups that waiting sequences hold. So the running sequence that came first can
//! have all that is left, and admission took nothing whose pages and soup are over the whole budget: it ends, and with it
//! every other one day.

use std::sync::atomic::Ordering::Relaxed;

use super::Scheduler;
use super::sequence::Sequence;
use super::served::Standing;
use crate::error::GenerationError;
use crate::kv::SequenceCache;

/// What became of a sequence whose turn it was.
enum Turn {
    Run,
    Wait,
    NoRoom,
}

impl Scheduler {
    /// Fills free rows, and those of shadows, with those whose turn it is. Nobody passes one who waits for memory.
    pub(super) fn admit(&mut self) {
        self.queue.retain(|sequence| match sequence.served.failure() {
            Some(reason) => {
                sequence.fail(GenerationError::Merge(reason));
                false
            }
            None => true,
        });
        while self.running.len() < self.setup.max_batch_rows || self.make_row() {
            let Some(mut sequence) = self.queue.next() else { return };
            match self.prepare(&mut sequence) {
                Turn::Run => self.begin(sequence),
                Turn::Wait => self.queue.put_back(sequence),
                Turn::NoRoom if sequence.is_shadow() => sequence.fail(GenerationError::Displaced),
                Turn::NoRoom => {
                    // With nobody at work, only those that wait behind it can be in its way.
                    let again = self.displace() || self.running.is_empty() && self.queue.release_soup();
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
        let (tokens, spare) = (sequence.tokens.len(), self.running.len());
        // Shadows take nobody's prefixes, and go before a request does.
        let free_alone = sequence.is_shadow() || self.has_shadow();
        let reserve = |cache: &mut SequenceCache| match free_alone {
            true => cache.reserve_free(tokens, spare),
            false => cache.reserve_beside(tokens, spare),
        };
        while !reserve(&mut sequence.cache) {
            if free_alone || !soups.make_room() {
                sequence.cache.clear();
                return Turn::NoRoom;
            }
        }
        self.setup.counters.prefix_hit_tokens.fetch_add(found as u64, Relaxed);
        Turn::Run
    }

    /// Puts a sequence among the running ones, which are ordered by arrival, shadows behind requests.
    fn begin(&mut self, sequence: Sequence) {
        let at = self.running.partition_point(|s| s.order() < sequence.order());
        self.running.insert(at, sequence);
    }

    /// Ends a shadow for a request that could begin; `false` when there is no shadow, or no such request.
    fn make_row(&mut self) -> bool {
        self.has_shadow() && self.queue.has_request() && self.displace()
    }

    fn has_shadow(&self) -> bool {
        self.running.last().is_some_and(Sequence::is_shadow)
    }

    /// Ends the shadow that came last; `false` when none is running.
    fn displace(&mut self) -> bool {
        let Some(mut shadow) = self.running.pop_if(|sequence| sequence.is_shadow()) else { return false };
        shadow.fail(GenerationError::Displaced);
        true
    }

    /// Sees to it that every running sequence has pages for the next step, those that came first before the others.
    pub(super) fn secure(&mut self) {
        let mut index = 0;
        while let Some(sequence) = self.running.get_mut(index) {
            let tokens = sequence.tokens.len();
            if sequence.cache.reserve_free(tokens, 0) {
                index += 1;
            } else if self.displace() {
                // Once more, with its pages.
            } else if self.running[index].cache.reserve(tokens) {
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
