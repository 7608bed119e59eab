//! A packed minibatch as blocks of rows of one length.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use crate::model::Packing;

/// Scores of a head that exist at one time, about: 4 MB. A block has one row at least.
const SCORES: usize = 1 << 20;

/// Rows that are attended to together. Each has `length` queries, and as many keys behind the `shared` ones of the prefix. Rows
/// that are shorter are filled up with the minibatch's first token: nothing before them sees it, and what it sees is dropped.
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) length: usize,
    pub(super) shared: usize,
    /// (rows * length) u32: the token of each query.
    pub(super) queries: Tensor,
    /// (rows * (shared + length)) u32: the token of each key.
    pub(super) keys: Tensor,
    /// (length, shared + length): 0 for what a query sees, minus infinity for the rest.
    pub(super) mask: Tensor,
    /// (rows * length, 1): 1 for tokens of the minibatch, 0 for what rows are filled up with.
    pub(super) real: Tensor,
    /// (tokens) u32: where the tokens of these rows lie among the queries, in the order of the minibatch.
    pub(super) own: Tensor,
}

impl Block {
    /// The blocks of `packing`, whose tokens follow one another as they do there. The shared prefix, where there is one, is
    /// the first block, and its one row.
    pub(super) fn all(packing: &Packing, device: &Device) -> Result<Vec<Self>> {
        let (prefix, rows) = (0..packing.prefix(), packing.rows());
        let mut blocks = Vec::new();
        if !prefix.is_empty() {
            blocks.push(Self::new(0, std::slice::from_ref(&prefix), device)?);
        }
        let longest = rows.iter().map(Range::len).max().unwrap_or(0);
        let count = (SCORES / (longest * (prefix.len() + longest)).max(1)).max(1);
        for rows in rows.chunks(count).filter(|rows| rows.iter().any(|row| !row.is_empty())) {
            blocks.push(Self::new(prefix.len(), rows, device)?);
        }
        Ok(blocks)
    }

    fn new(shared: usize, rows: &[Range<usize>], device: &Device) -> Result<Self> {
        let length = rows.iter().map(Range::len).max().unwrap_or(0);
        let (mut queries, mut keys, mut real, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let filled = row.clone().chain(std::iter::repeat(0)).take(length).map(|token| token as u32);
            keys.extend((0..shared as u32).chain(filled.clone()));
            own.extend((queries.len()..queries.len() + row.len()).map(|at| at as u32));
            queries.extend(filled);
            real.extend((0..length).map(|at| if at < row.len() { 1f32 } else { 0.0 }));
        }
        let sees = |query: usize| (0..shared + length).map(move |key| key <= shared + query);
        let mask = (0..length).flat_map(sees).map(|sees| if sees { 0f32 } else { f32::NEG_INFINITY });
        let upload = |of: Vec<u32>| {
            let count = of.len();
            Tensor::from_vec(of, count, device)
        };
        Ok(Self {
            rows: rows.len(),
            length,
            shared,
            mask: Tensor::from_vec(mask.collect::<Vec<f32>>(), (length, shared + length), device)?,
            real: Tensor::from_vec(real, (rows.len() * length, 1), device)?,
            queries: upload(queries)?,
            keys: upload(keys)?,
            own: upload(own)?,
        })
    }

    /// Of `keys` (rows * (shared + length), width) each row's own: (rows * length, width).
    pub(super) fn own_keys(&self, keys: &Tensor) -> Result<Tensor> {
        let width = keys.dim(1)?;
        let keys = keys.reshape((self.rows, self.shared + self.length, width))?;
        keys.narrow(1, self.shared, self.length)?.contiguous()?.reshape((self.rows * self.length, width))
    }

    /// Of `keys` the shared ones, summed over the rows: (shared, width).
    pub(super) fn shared_keys(&self, keys: &Tensor) -> Result<Tensor> {
        let keys = keys.reshape((self.rows, self.shared + self.length, keys.dim(1)?))?;
        keys.narrow(1, 0, self.shared)?.sum(0)
    }
}
