//! A strip of a product: some panels times some rows, cut so that the weights in hand stay in the first-level cache.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::panels::{Panels, TILE_LINES};
use crate::precision::Precision;
use crate::rows::RowsView;
use crate::simd::{LANES, Simd};
use crate::target::Target;
use crate::tile::{Segment, tile};

/// Lines of a panel in one segment: three panels of them fill half of a first-level cache.
const SEGMENT_LINES: usize = 128;

/// One summand of a product: `x · wᵀ`.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    /// (rows, in)
    pub x: RowsView<'a>,
    /// (out, in)
    pub w: &'a Panels,
}

impl Term<'_> {
    pub(crate) fn check(&self, rows: usize, out: usize) {
        let (x, w) = (&self.x, self.w);
        assert_eq!((x.rows, x.input, x.precision), (rows, w.input(), w.precision()), "rows, in, precision");
        assert_eq!(w.out(), out, "out");
    }
}

/// Computes `Σ terms` for these panels and rows. With `add` it is added to what the target holds.
///
/// The terms were checked; the target's first element is that of the first panel and first row.
#[inline(always)]
pub(crate) fn strip<S: Simd>(
    s: S,
    terms: &[Term<'_>],
    panels: Range<usize>,
    rows: Range<usize>,
    target: &Target<'_>,
    add: bool,
) {
    let mut at = panels.start;
    while at < panels.end {
        let column = (at - panels.start) * LANES;
        let left = panels.end - at;
        at += if rows.len() == 1 {
            match (S::WIDE, left) {
                (true, 6..) => columns::<S, 6>(s, terms, at, rows.clone(), target, column, add),
                (_, 3..) => columns::<S, 3>(s, terms, at, rows.clone(), target, column, add),
                (_, 2) => columns::<S, 2>(s, terms, at, rows.clone(), target, column, add),
                _ => columns::<S, 1>(s, terms, at, rows.clone(), target, column, add),
            }
        } else {
            match (S::WIDE, left) {
                (true, 3..) => columns::<S, 3>(s, terms, at, rows.clone(), target, column, add),
                (true, 2) => columns::<S, 2>(s, terms, at, rows.clone(), target, column, add),
                _ => columns::<S, 1>(s, terms, at, rows.clone(), target, column, add),
            }
        };
    }
}

/// `P` panels from `panel` on; tells how many they were.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one level of a loop nest, inlined")]
fn columns<S: Simd, const P: usize>(
    s: S,
    terms: &[Term<'_>],
    panel: usize,
    rows: Range<usize>,
    target: &Target<'_>,
    column: usize,
    add: bool,
) -> usize {
    let mut add = add;
    for term in terms {
        let precision = term.w.precision();
        let lines = precision.words(term.w.input());
        let mut first = 0;
        while first < lines {
            let segment = segment::<P>(term, panel, rows.start, first..(first + SEGMENT_LINES).min(lines));
            // SAFETY: the segment lies within panels and rows of the term, and the target holds these rows and columns.
            unsafe { blocks(s, precision, segment, rows.len(), target, column, add) };
            add = true;
            first += SEGMENT_LINES;
        }
    }
    P
}

#[inline(always)]
fn segment<const P: usize>(term: &Term<'_>, panel: usize, row: usize, lines: Range<usize>) -> Segment<P> {
    let words = term.x.precision.words(term.x.input);
    let groups = term.x.scales.len() / term.x.rows.max(1);
    let int8 = term.w.precision() == Precision::Int8;
    let (start, group) = if int8 { (lines.start / LANES * TILE_LINES, lines.start / LANES) } else { (lines.start, 0) };
    let mut panels = [std::ptr::null(); P];
    for (p, start_of) in panels.iter_mut().enumerate() {
        *start_of = term.w.panel(panel + p)[start..].as_ptr();
    }
    Segment {
        panels,
        lines: lines.len(),
        words: term.x.words[row * words + lines.start..].as_ptr(),
        word_stride: words,
        scales: term.x.scales[row * groups + group..].as_ptr(),
        offsets: term.x.offsets[row * groups + group..].as_ptr(),
        scale_stride: groups,
    }
}

/// All rows, a few at a time.
///
/// # Safety
/// The segment is good for `rows` rows, and so is the target, from `column` on.
#[inline(always)]
unsafe fn blocks<S: Simd, const P: usize>(
    s: S,
    precision: Precision,
    segment: Segment<P>,
    rows: usize,
    target: &Target<'_>,
    column: usize,
    add: bool,
) {
    let most = if P > 3 {
        1
    } else if S::WIDE && precision != Precision::Int8 {
        8
    } else {
        4
    };
    let mut row = 0;
    while row < rows {
        // SAFETY: `row` is below `rows`.
        let here = unsafe { segment.skip(row) };
        // SAFETY (all): as many rows are left.
        row += unsafe {
            match (rows - row).min(most) {
                8 if P <= 3 => block::<S, 8, P>(s, precision, here, target, row, column, add),
                4..8 if P <= 3 => block::<S, 4, P>(s, precision, here, target, row, column, add),
                3 if P <= 3 => block::<S, 3, P>(s, precision, here, target, row, column, add),
                2 if P <= 3 => block::<S, 2, P>(s, precision, here, target, row, column, add),
                _ => block::<S, 1, P>(s, precision, here, target, row, column, add),
            }
        };
    }
}

/// `M` rows and `P` panels; tells how many rows they were.
///
/// # Safety
/// As [`blocks`], for `M` rows.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one level of a loop nest, inlined")]
unsafe fn block<S: Simd, const M: usize, const P: usize>(
    s: S,
    precision: Precision,
    segment: Segment<P>,
    target: &Target<'_>,
    row: usize,
    column: usize,
    add: bool,
) -> usize {
    let mut acc = [[s.splat(0.0); P]; M];
    if add {
        for (i, sums) in acc.iter_mut().enumerate() {
            for (p, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the target holds these rows and columns.
                *sum = unsafe { target.load(s, row + i, column + p * LANES) };
            }
        }
    }
    // SAFETY: as promised.
    unsafe { tile::<S, M, P>(s, precision, segment, &mut acc) };
    for (i, sums) in acc.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            // SAFETY: the target holds these rows and columns.
            unsafe { target.store(s, *sum, row + i, column + p * LANES) };
        }
    }
    M
}
