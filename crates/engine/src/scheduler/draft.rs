//! Drafts for speculative decoding by prompt look-up: what followed the last words when they were written before may follow
//! them again (Saxena, "Prompt Lookup Decoding", 2023).
//!
//! ```text
//! tokens   ... the red fox jumps over ... the red fox |     three tokens match, the draft is "jumps over ..."
//! step     rows:  fox, jumps, over                          computed together, logits after each of them
//! chosen   jumps (as drafted), across (not as drafted)      two tokens of one step; the row of "over" is forgotten
//! ```
//!
//! A row's bits depend on its own sequence alone, so the logits of each row are those of a step without drafts, and every
//! token is chosen from them as it would be then: drafts change how long an answer takes and nothing else.

/// Tokens of one draft.
const MOST: usize = 15;
/// Tokens that must match, the most first.
const MATCHES: [usize; 2] = [3, 2];
/// Two tokens match by chance: they count for an answer of whose drafts at least this share was right.
const TRUSTED: f32 = 0.5;
/// Reading the weights takes a step as long as this many rows.
const READING: usize = 4;
/// Steps between two tries where drafts do not pay, at first and at most; each failure doubles them.
const PAUSES: [usize; 2] = [16, 256];

/// The draft of one sequence, and how often its drafts were right.
#[derive(Debug)]
pub(super) struct Draft {
    tokens: Vec<u32>,
    /// Share of the drafted tokens that was right, a moving average.
    rate: f32,
    /// Tokens to draft next time.
    length: usize,
    /// Steps before the next try, and before the one after it if that fails.
    wait: usize,
    pause: usize,
    /// No drafts any more.
    off: bool,
}

impl Draft {
    pub(super) fn new() -> Self {
        let tokens = Vec::with_capacity(MOST);
        Self { tokens, rate: TRUSTED, length: 3, wait: 0, pause: PAUSES[0], off: false }
    }

    /// The drafted tokens.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Makes no drafts any more.
    pub(super) fn give_up(&mut self) {
        self.clear();
        self.off = true;
    }

    /// Drafts up to `most` tokens to follow `written`, if that pays in a step of `rows` sequences.
    ///
    /// A row more takes as long as a [`READING`]th of reading the weights; a token more saves its sequence a step, that is
    /// one of `rows` parts of a step: it pays where `rate · (READING + rows) / rows > 1`.
    pub(super) fn propose(&mut self, written: &[u32], rows: usize, most: usize) {
        self.clear();
        if self.off || self.wait > 0 {
            self.wait = self.wait.saturating_sub(1);
            return;
        }
        let pays = self.rate * (READING + rows) as f32 > rows as f32;
        let matches = if self.rate < TRUSTED { &MATCHES[..1] } else { &MATCHES };
        let Some(at) = matches.iter().find_map(|n| last_match(written, *n)) else { return };
        let length = if pays { self.length } else { 1 };
        for i in at..at + length.min(most).min(MOST) {
            // Past the end of what is written, the draft repeats itself.
            let token = written.get(i).copied().unwrap_or_else(|| self.tokens[i - written.len()]);
            self.tokens.push(token);
        }
        if pays {
            self.pause = PAUSES[0];
        } else {
            self.wait = self.pause;
            self.pause = (self.pause * 2).min(PAUSES[1]);
        }
    }

    /// Learns that the first `right` tokens of the draft were chosen, and forgets it.
    pub(super) fn judge(&mut self, right: usize) {
        let drafted = self.tokens.len();
        if drafted == 0 {
            return;
        }
        self.rate += (right as f32 / drafted as f32 - self.rate) / 4.0;
        if right == drafted {
            (self.length, self.wait) = ((2 * self.length).min(MOST), 0);
        } else {
            self.length = right + 1;
        }
        self.clear();
    }
}

/// Where it goes on after the last place that reads as the last `n` tokens do.
fn last_match(written: &[u32], n: usize) -> Option<usize> {
    let pattern = &written[written.len().checked_sub(n)?..];
    let before = &written[..written.len() - 1];
    before.windows(n).rposition(|window| window == pattern).map(|at| at + n)
}

#[cfg(test)]
mod tests {
    use super::{Draft, MOST, PAUSES, last_match};

    fn proposed(draft: &mut Draft, written: &[u32], rows: usize) -> Vec<u32> {
        draft.propose(written, rows, MOST);
        draft.tokens().to_vec()
    }

    #[test]
    fn the_last_place_counts() {
        let written = [1, 2, 3, 4, 1, 2, 3, 5, 9, 1, 2, 3];
        assert_eq!(last_match(&written, 3), Some(7));
        assert_eq!(proposed(&mut Draft::new(), &written, 1), [5, 9, 1]);
        assert_eq!(last_match(&[1, 2, 3], 3), None);
        assert_eq!(last_match(&[1, 2], 3), None);
        // Two tokens match where three do not.
        assert_eq!(proposed(&mut Draft::new(), &[7, 2, 3, 8, 9, 1, 2, 3], 1), [8, 9, 1]);
    }

    #[test]
    fn a_draft_goes_round_in_circles_with_the_text() {
        let mut draft = Draft { length: 7, ..Draft::new() };
        assert_eq!(proposed(&mut draft, &[5, 6, 5, 6, 5, 6], 1), [5, 6, 5, 6, 5, 6, 5]);
        assert_eq!(proposed(&mut draft, &[4, 4, 4, 4], 1), [4; 7]);
        draft.propose(&[4, 4, 4, 4], 1, 2);
        assert_eq!(draft.tokens(), [4, 4]);
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_stop_when_they_are_not() {
        let written = [4; 30];
        let mut draft = Draft::new();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            lengths.push(proposed(&mut draft, &written, 1).len());
            draft.judge(lengths[lengths.len() - 1]);
        }
        assert_eq!(lengths, [3, 6, 12, 15]);
        let tries = |draft: &mut Draft, rows, steps| {
            let tried = |_: &usize| {
                let tried = !proposed(draft, &written, rows).is_empty();
                draft.judge(0);
                tried
            };
            (0..steps).filter(tried).count()
        };
        let few = tries(&mut draft, 1, 20);
        assert!((4..8).contains(&few), "{few} before they stop");
        // 16 + 32 + ... + 256, and 256 again.
        let pauses = PAUSES[0] * 31 + 2 * PAUSES[1];
        let few = tries(&mut draft, 1, pauses);
        assert!((5..8).contains(&few), "{few} while they do not pay");
        // Right again, they come back.
        let mut draft = Draft { rate: 0.1, wait: 0, ..draft };
        for _ in 0..4 {
            let drafted = proposed(&mut draft, &written, 1).len();
            assert!(drafted > 0);
            draft.judge(drafted);
        }
        assert!(draft.rate > 0.5 && draft.length > 1);
    }

    #[test]
    fn more_rows_ask_for_better_drafts() {
        let written = [4; 30];
        let drafts = |rate, rows| {
            let mut draft = Draft { rate, length: 6, ..Draft::new() };
            proposed(&mut draft, &written, rows).len()
        };
        // One token alone is a try.
        assert_eq!([drafts(0.3, 1), drafts(0.3, 4), drafts(0.6, 4), drafts(0.6, 8), drafts(0.9, 8)], [6, 1, 6, 1, 6]);
        let mut draft = Draft::new();
        draft.give_up();
        assert!(proposed(&mut draft, &written, 1).is_empty());
    }
}
