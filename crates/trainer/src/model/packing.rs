//! Rows of unequal length laid end to end, with one shared prefix: no padding, and the prefix is computed once.

use std::ops::Range;

/// Where each row of a minibatch lies: `prefix` tokens that all rows share, then the rows one after the other.
#[derive(Clone, Debug)]
pub struct Packing {
    prefix: usize,
    starts: Vec<usize>,
    /// The start of the row that holds each token; 0 for tokens of the prefix.
    row_start: Vec<usize>,
}

impl Packing {
    /// A packing of `rows` tokens per row after `prefix` shared tokens.
    pub fn new(prefix: usize, rows: &[usize]) -> Self {
        let mut starts = Vec::with_capacity(rows.len());
        let mut row_start = vec![0; prefix];
        for &length in rows {
            let start = row_start.len();
            starts.push(start);
            row_start.extend(std::iter::repeat_n(start, length));
        }
        Self { prefix, starts, row_start }
    }

    /// All tokens, the prefix included.
    pub fn tokens(&self) -> usize {
        self.row_start.len()
    }

    /// The tokens of the shared prefix.
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// The tokens of each row.
    pub(crate) fn rows(&self) -> Vec<Range<usize>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.tokens()]);
        self.starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }

    /// The position of a token in its own sequence, prefix included.
    pub(crate) fn position(&self, token: usize) -> usize {
        if token < self.prefix { token } else { self.prefix + token - self.row_start[token] }
    }

    /// The tokens that `token` attends to, in order: the prefix, then its own row up to itself.
    pub(crate) fn visible(&self, token: usize) -> impl Iterator<Item = usize> + use<> {
        let shared = if token < self.prefix { 0 } else { self.prefix };
        (0..shared).chain(self.row_start[token]..token + 1)
    }

    /// The length of the longest sequence, prefix included.
    pub(crate) fn longest(&self) -> usize {
        (0..self.tokens()).map(|token| self.position(token) + 1).max().unwrap_or(0)
    }
}
