//! Text as it is matched: NFKC, without characters that are not seen, each run of white space as one space; and where
//! each part of it lies in the original.

use std::collections::VecDeque;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

static IGNORABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{Default_Ignorable_Code_Point}").expect("a constant"));

/// What is dropped at once from the front, so that dropping costs little for each byte.
const DROP: usize = 4096;

/// Characters that are normalised together, by their ends.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// In [`Normal::text`].
    text_end: usize,
    /// In the original.
    raw_end: usize,
}

/// A text that grows at its end and is dropped from its front. Offsets are those of what is still there.
#[derive(Debug, Default)]
pub(super) struct Normal {
    raw: String,
    text: String,
    segments: VecDeque<Segment>,
    /// Ends of what was dropped from the segments; 0 after dropping the bytes as well.
    dropped: (usize, usize),
    /// Visible characters of the last segment, which may not be whole: a combining mark may follow.
    open: String,
    after_space: bool,
}

impl Normal {
    /// All of `text`, normalised.
    pub(super) fn of(text: &str) -> String {
        let mut normal = Self::default();
        normal.push(text);
        normal.close();
        normal.text
    }

    /// Adds to the end.
    pub(super) fn push(&mut self, text: &str) {
        for c in text.chars() {
            if !is_unseen(c) {
                if begins(c) {
                    self.close();
                }
                self.open.push(c);
            }
            self.raw.push(c);
        }
    }

    /// The last segment is whole.
    pub(super) fn close(&mut self) {
        if self.raw_end() == self.raw.len() {
            return;
        }
        for c in self.open.nfkc() {
            let space = c.is_whitespace();
            if !space {
                self.text.push(c);
            } else if !self.after_space {
                self.text.push(' ');
            }
            self.after_space = space;
        }
        self.open.clear();
        self.segments.push_back(Segment { text_end: self.text.len(), raw_end: self.raw.len() });
    }

    fn raw_end(&self) -> usize {
        self.segments.back().map_or(self.dropped.1, |segment| segment.raw_end)
    }

    /// What is whole, normalised.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The original.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// Where the segment that holds byte `at` of the text begins: in the text, and in the original.
    pub(super) fn begin(&self, at: usize) -> (usize, usize) {
        match self.segments.partition_point(|segment| segment.text_end <= at) {
            0 => self.dropped,
            i => (self.segments[i - 1].text_end, self.segments[i - 1].raw_end),
        }
    }

    /// Where the segment that holds the byte before `at` of the text ends in the original.
    pub(super) fn raw_end_of(&self, at: usize) -> usize {
        let i = self.segments.partition_point(|segment| segment.text_end < at);
        self.segments.get(i).map_or(self.raw_end(), |segment| segment.raw_end)
    }

    /// Nothing before these offsets is asked for any more. Returns by how much all offsets shrink. The last character
    /// before them stays: whether a word begins depends on it.
    pub(super) fn drop_before(&mut self, text: usize, raw: usize) -> (usize, usize) {
        while self.segments.front().is_some_and(|s| s.text_end <= text && s.raw_end <= raw) {
            let segment = self.segments.pop_front().expect("there is a front");
            self.dropped = (segment.text_end, segment.raw_end);
        }
        let (text, raw) = self.dropped;
        if raw < DROP {
            return (0, 0);
        }
        let last = self.text[..text].char_indices().next_back().map_or(0, |(i, _)| i);
        self.text.drain(..last);
        self.raw.drain(..raw);
        self.segments.iter_mut().for_each(|s| (s.text_end, s.raw_end) = (s.text_end - last, s.raw_end - raw));
        self.dropped = (text - last, 0);
        (last, raw)
    }
}

/// Not drawn: zero-width and other default ignorable characters, and control characters but white space.
fn is_unseen(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !c.is_whitespace();
    }
    IGNORABLE.is_match(c.encode_utf8(&mut [0; 4])) || (c.is_control() && !c.is_whitespace())
}

/// Whether nothing before `c` is normalised together with it (Unicode Standard Annex #15, stable code points).
fn begins(c: char) -> bool {
    if c.is_ascii() {
        return true;
    }
    let mut first = None;
    decompose_compatible(c, |d| {
        first.get_or_insert(d);
    });
    let first = first.unwrap_or(c);
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}
