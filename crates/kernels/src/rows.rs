//! Activations as the products read them.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::Isa;
use crate::precision::{GROUP, Precision, SMALLEST};
use crate::simd::{LANES, LineWords, Op, Simd, line_words};

/// Rows of activations, (rows, in), in the precision of the weights that they meet.
///
/// int8: each group of [`GROUP`] values of a row has its scale `max|x| / 127`; beside it stands `-128 Σ q`, which undoes
/// that weights are stored as `w + 128`. How bf16 and int8 values lie in memory is the instruction set's own matter.
#[derive(Debug, Clone)]
pub struct Rows {
    isa: Isa,
    precision: Precision,
    /// Words that meet one line of weights.
    line_words: usize,
    input: usize,
    rows: usize,
    words: Vec<u32>,
    scales: Vec<f32>,
    offsets: Vec<i32>,
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(isa: Isa, precision: Precision, input: usize) -> Self {
        let line_words = isa.run(LineWords(precision));
        let (words, scales, offsets) = (Vec::new(), Vec::new(), Vec::new());
        Self { isa, precision, line_words, input, rows: 0, words, scales, offsets }
    }

    /// Makes room for `rows` rows; what they hold is undefined until written. Allocates only beyond the most so far.
    pub fn resize(&mut self, rows: usize) {
        let (words, groups) = (self.words_per_row(), self.groups());
        self.rows = rows;
        self.words.resize(rows * words, 0);
        self.scales.resize(rows * groups, 0.0);
        self.offsets.resize(rows * groups, 0);
    }

    /// As [`Self::resize`], for rows of another width.
    pub fn reshape(&mut self, input: usize, rows: usize) {
        self.input = input;
        self.resize(rows);
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Values of a row.
    #[must_use]
    pub fn input(&self) -> usize {
        self.input
    }

    /// The instruction set that reads them.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number format.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// All rows.
    #[must_use]
    pub fn view(&self) -> RowsView<'_> {
        self.range(0..self.rows)
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> RowsView<'_> {
        let (words, groups) = (self.words_per_row(), self.groups());
        RowsView {
            isa: self.isa,
            precision: self.precision,
            line_words: self.line_words,
            input: self.input,
            rows: range.len(),
            words: &self.words[range.start * words..range.end * words],
            scales: &self.scales[range.start * groups..range.end * groups],
            offsets: &self.offsets[range.start * groups..range.end * groups],
        }
    }

    /// Writes one row from f32 values.
    ///
    /// # Panics
    /// When `values` are not `input` long or the row does not exist.
    pub fn set(&mut self, row: usize, values: &[f32]) {
        assert_eq!(values.len(), self.input);
        let isa = self.isa;
        // SAFETY: the only row that is out.
        let row = unsafe { self.shared(isa).row(row) };
        isa.run(Convert { row, values });
    }

    /// The rows, to be written by several threads with `isa`.
    ///
    /// # Panics
    /// When they are made for another one.
    pub(crate) fn shared(&mut self, isa: Isa) -> SharedRows<'_> {
        assert_eq!(self.isa, isa, "rows of another instruction set");
        SharedRows {
            precision: self.precision,
            line_words: self.line_words,
            rows: self.rows,
            words: (self.words.as_mut_ptr(), self.words_per_row()),
            scales: (self.scales.as_mut_ptr(), self.groups()),
            offsets: (self.offsets.as_mut_ptr(), self.groups()),
            borrow: PhantomData,
        }
    }

    pub(crate) fn words_per_row(&self) -> usize {
        self.precision.words(self.input) * self.line_words
    }

    fn groups(&self) -> usize {
        if self.precision == Precision::Int8 { self.input.div_ceil(GROUP) } else { 0 }
    }
}

/// Borrowed rows.
#[derive(Debug, Clone, Copy)]
pub struct RowsView<'a> {
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    pub(crate) line_words: usize,
    pub(crate) input: usize,
    pub(crate) rows: usize,
    pub(crate) words: &'a [u32],
    pub(crate) scales: &'a [f32],
    pub(crate) offsets: &'a [i32],
}

impl RowsView<'_> {
    pub(crate) fn words_per_row(&self) -> usize {
        self.precision.words(self.input) * self.line_words
    }
}

/// Rows that several threads write, each its own.
pub(crate) struct SharedRows<'a> {
    precision: Precision,
    line_words: usize,
    rows: usize,
    words: (*mut u32, usize),
    scales: (*mut f32, usize),
    offsets: (*mut i32, usize),
    borrow: PhantomData<&'a mut Rows>,
}

// SAFETY: the pointers stand for an exclusive borrow, and `row` asks its callers for different rows.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// # Safety
    /// Nobody else holds this row.
    ///
    /// # Panics
    /// When there is no such row.
    pub(crate) unsafe fn row(&self, row: usize) -> RowMut<'a> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row is inside the vectors, which are borrowed for 'a, and the caller's alone.
        unsafe {
            RowMut {
                precision: self.precision,
                words: slice(self.words, row),
                scales: slice(self.scales, row),
                offsets: slice(self.offsets, row),
            }
        }
    }
}

impl<'a> SharedRows<'a> {
    /// The values of one group of a row, as a row of its own.
    ///
    /// # Safety
    /// Nobody else holds this row or this group of it.
    ///
    /// # Panics
    /// When there is no such row or group.
    pub(crate) unsafe fn group(&self, row: usize, group: usize) -> RowMut<'a> {
        let (words, per_row) = self.words;
        let per_group = GROUP / self.precision.per_word() * self.line_words;
        let first = group * per_group;
        let len = per_group.min(per_row.saturating_sub(first));
        assert!(row < self.rows && len > 0, "group {group} of row {row}");
        let one = usize::from(self.precision == Precision::Int8);
        // SAFETY: the group is inside the row, which is inside the vectors; it is the caller's alone.
        unsafe {
            RowMut {
                precision: self.precision,
                words: std::slice::from_raw_parts_mut(words.add(row * per_row + first), len),
                scales: std::slice::from_raw_parts_mut(self.scales.0.add(row * self.scales.1 + one * group), one),
                offsets: std::slice::from_raw_parts_mut(self.offsets.0.add(row * self.offsets.1 + one * group), one),
            }
        }
    }
}

/// # Safety
/// The elements of the row are there, and nobody else's.
unsafe fn slice<'a, T>((start, width): (*mut T, usize), row: usize) -> &'a mut [T] {
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts_mut(start.add(row * width), width) }
}

/// One row to be written.
pub(crate) struct RowMut<'a> {
    precision: Precision,
    words: &'a mut [u32],
    scales: &'a mut [f32],
    offsets: &'a mut [i32],
}

impl RowMut<'_> {
    /// Writes the values from `at` on; `at` is a multiple of [`GROUP`]. What follows the last value within its group is
    /// zero.
    #[inline(always)]
    pub(crate) fn write<S: Simd>(&mut self, s: S, at: usize, values: &[f32]) {
        debug_assert!(at.is_multiple_of(GROUP));
        match self.precision {
            Precision::F32 => {
                for (word, value) in self.words[at..].iter_mut().zip(values) {
                    *word = value.to_bits();
                }
            }
            Precision::Bf16 => {
                let per_pair = line_words::<S>(Precision::Bf16);
                let words = &mut self.words[at / 2 * per_pair..];
                let end = words.len().min(values.len().div_ceil(GROUP) * GROUP / 2 * per_pair);
                pack_bf16(s, values, &mut words[..end]);
            }
            Precision::Int8 => {
                for (i, group) in values.chunks(GROUP).enumerate() {
                    self.write_group(s, at / GROUP + i, group);
                }
            }
        }
    }

    #[inline(always)]
    fn write_group<S: Simd>(&mut self, s: S, index: usize, values: &[f32]) {
        let parts: [S::F32; 4] = std::array::from_fn(|i| load_part(s, values, i * LANES));
        let largest = s.largest_magnitude(parts);
        let inverse = s.splat(if largest >= SMALLEST { 127.0 / largest } else { 0.0 });
        let words = line_words::<S>(Precision::Int8);
        let mut quads = self.words[index * LANES * words..][..LANES * words].chunks_exact_mut(words);
        let mut sum = s.splat_i32(0);
        for part in parts {
            let q = s.round(s.mul(part, inverse));
            sum = s.add_i32(sum, q);
            for (quad, to) in s.quads(q).into_iter().zip(quads.by_ref()) {
                to.copy_from_slice(quad.as_ref());
            }
        }
        // Infinite or NaN where a value is: what is multiplied with it cannot look like an answer.
        self.scales[index] = largest / 127.0;
        self.offsets[index] = s.sum_i32(sum).wrapping_mul(-128);
    }
}

/// Pairs of values as bf16; zeros beyond the end. There are words for a multiple of sixteen values.
#[inline(always)]
pub(crate) fn pack_bf16<S: Simd>(s: S, values: &[f32], words: &mut [u32]) {
    let per_pair = line_words::<S>(Precision::Bf16);
    debug_assert!(words.len().is_multiple_of(LANES / 2 * per_pair));
    for (i, words) in words.chunks_exact_mut(LANES / 2 * per_pair).enumerate() {
        for (to, pair) in words.chunks_exact_mut(per_pair).zip(s.pairs(load_part(s, values, i * LANES))) {
            to.copy_from_slice(pair.as_ref());
        }
    }
}

/// Sixteen values from `at` on, zeros beyond the end.
#[inline(always)]
pub(crate) fn load_part<S: Simd>(s: S, values: &[f32], at: usize) -> S::F32 {
    let rest = values.get(at..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk() {
        return s.load(whole);
    }
    let mut padded = [0.0; LANES];
    padded[..rest.len()].copy_from_slice(rest);
    s.load(&padded)
}

struct Convert<'a> {
    row: RowMut<'a>,
    values: &'a [f32],
}

impl Op for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.row.write(s, 0, self.values);
    }
}
