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

/// One summand of a product: `x · wᵀ`, added to some of its rows.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    /// (rows, in)
    pub x: RowsView<'a>,
    /// (out, in)
    pub w: &'a Panels,
    /// The row of the product that the first row of `x` is added to.
    pub first: usize,
}

impl Term<'_> {
    /// Rows and outputs of a product: its first term has all of them, the others some of the rows.
    pub(crate) fn shape(terms: &[Self]) -> (usize, usize) {
        let first = terms.first().expect("a product has a term");
        let (rows, out) = (first.x.rows, first.w.out());
        for Term { x, w, first } in terms {
            assert_eq!((x.input, x.precision, w.out()), (w.input(), w.precision(), out), "in, precision, out");
            assert!(first + x.rows <= rows, "rows {first} to {} of {rows}", first + x.rows);
        }
        assert_eq!(first.first, 0);
        (rows, out)
    }

    /// Those of `rows` that this term is added to.
    fn within(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start.max(self.first)..rows.end.min(self.first + self.x.rows)
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
        let own = term.within(&rows);
        if own.is_empty() {
            continue;
        }
        let place = Place { row: own.start - rows.start, column };
        let mut first = 0;
        while first < lines {
            let segment = segment::<P>(term, panel, own.start - term.first, first..(first + SEGMENT_LINES).min(lines));
            // SAFETY: the segment lies within panels and rows of the term, and the target holds these rows and columns.
            unsafe { blocks(s, precision, segment, own.len(), target, place, add) };
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

/// Where a block begins in its target.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
}

/// All rows, a few at a time.
///
/// # Safety
/// The segment is good for `rows` rows, and so is the target, from `place` on.
#[inline(always)]
unsafe fn blocks<S: Simd, const P: usize>(
    s: S,
    precision: Precision,
    segment: Segment<P>,
    rows: usize,
    target: &Target<'_>,
    place: Place,
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
        let place = Place { row: place.row + row, column: place.column };
        // SAFETY (all): as many rows are left.
        row += unsafe {
            match (rows - row).min(most) {
                8 if P <= 3 => block::<S, 8, P>(s, precision, here, target, place, add),
                4..8 if P <= 3 => block::<S, 4, P>(s, precision, here, target, place, add),
                3 if P <= 3 => block::<S, 3, P>(s, precision, here, target, place, add),
                2 if P <= 3 => block::<S, 2, P>(s, precision, here, target, place, add),
                _ => block::<S, 1, P>(s, precision, here, target, place, add),
            }
        };
    }
}

/// `M` rows and `P` panels; tells how many rows they were.
///
/// # Safety
/// As [`blocks`], for `M` rows.
#[inline(always)]
unsafe fn block<S: Simd, const M: usize, const P: usize>(
    s: S,
    precision: Precision,
    segment: Segment<P>,
    target: &Target<'_>,
    Place { row, column }: Place,
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
