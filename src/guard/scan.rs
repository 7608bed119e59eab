//! One pattern over a text that comes in pieces.

use std::sync::Arc;

use super::normal::Normal;
use super::pattern::Pattern;

/// What becomes of a match.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It goes on.
    Pass,
    /// This stands in its place.
    Replace(Arc<str>),
    /// The text ends before it.
    Stop,
}

/// Finds matches and passes on what is none. A match is told, and text passed on, when no further text can change that:
/// so the pieces do not matter.
#[derive(Debug)]
pub(super) struct Scanner {
    pattern: Arc<Pattern>,
    fate: Fate,
    normal: Normal,
    /// In the normalised text: everything before is decided.
    from: usize,
    /// In the original: everything before has left.
    raw_from: usize,
}

/// What came of a piece.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// What may leave.
    pub(super) text: String,
    /// Matches in it, or behind it.
    pub(super) found: usize,
    /// It ended here.
    pub(super) stopped: bool,
}

impl Scanner {
    pub(super) fn new(pattern: Arc<Pattern>, fate: Fate) -> Self {
        Self { pattern, fate, normal: Normal::default(), from: 0, raw_from: 0 }
    }

    /// More text; with `last`, there is no more.
    pub(super) fn push(&mut self, text: &str, last: bool) -> Scanned {
        self.normal.push(text);
        if last {
            self.normal.close();
        }
        let mut out = Scanned::default();
        let decided = if last { self.normal.text().len() } else { self.decided() };
        while self.from < decided {
            let found = self.pattern.regex.find_at(self.normal.text(), self.from).filter(|m| m.start() < decided);
            let Some((start, end)) = found.map(|m| (m.start(), m.end())) else {
                self.pass(decided, &mut out);
                break;
            };
            match self.verified(start, end) {
                Some(end) => self.settle(start, end, &mut out),
                // Something may still begin within what is none.
                None => {
                    let next = start + self.normal.text()[start..].chars().next().map_or(1, char::len_utf8);
                    self.pass(next, &mut out);
                    self.from = next;
                }
            }
            if out.stopped {
                return out;
            }
        }
        if last {
            out.text.push_str(&self.normal.raw()[self.raw_from..]);
            self.raw_from = self.normal.raw().len();
        }
        let (text, raw) = self.normal.drop_before(self.from, self.raw_from);
        self.from -= text;
        self.raw_from -= raw;
        out
    }

    /// Where the match ends that a closer look leaves of this one.
    fn verified(&self, start: usize, end: usize) -> Option<usize> {
        match self.pattern.verify {
            Some(verify) => verify(&self.normal.text()[start..end]).map(|length| start + length),
            None => Some(end),
        }
    }

    fn settle(&mut self, start: usize, end: usize, out: &mut Scanned) {
        out.found += 1;
        self.pass(start, out);
        self.from = end;
        match &self.fate {
            Fate::Pass => {}
            Fate::Replace(replacement) => {
                out.text.push_str(replacement);
                self.raw_from = self.raw_from.max(self.normal.raw_end_of(end));
            }
            Fate::Stop => out.stopped = true,
        }
    }

    /// Lets everything before `at` leave that is not normalised together with what follows.
    fn pass(&mut self, at: usize, out: &mut Scanned) {
        let (from, raw) = self.normal.begin(at);
        if raw > self.raw_from {
            out.text.push_str(&self.normal.raw()[self.raw_from..raw]);
            self.raw_from = raw;
        }
        self.from = self.from.max(from);
    }

    /// No further text can make or change a match that begins before this. A match ends `width` bytes on at the latest, and
    /// whether a word ends there is seen in the next character.
    fn decided(&self) -> usize {
        let text = self.normal.text();
        let wide = text.len().saturating_sub(self.pattern.width);
        let word =
            if self.pattern.within_word { text[self.from..].rfind(' ').map(|i| self.from + i + 1) } else { None };
        text.floor_char_boundary(wide.max(word.unwrap_or(0)))
    }
}
