//! A strip of a product: some panels times some rows, cut so that the weights in hand stay in the first-level cache.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::Isa;
use crate::line::Line;
use crate::panels::{Panels, TILE_LINES};
use crate::precision::Precision;
use crate::rows::RowsView;
use crate::simd::{LANES, Op, Simd};
use crate::target::Target;
use crate::tile::{Segment, tile};

/// Most lines of a panel in one segment: three panels of them fill half of a first-level cache.
const SEGMENT_LINES: usize = 160;

/// Most lines of a term that goes along with the one before it: the stacked factors of a few policies.
const SHORT_LINES: usize = 64;

/// Where one block of rows meets each weight once, the CPU fetches them well by itself, but for the start of a panel.
const START: usize = 3;

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
    pub(crate) fn shape(isa: Isa, terms: &[Self]) -> (usize, usize) {
        let first = terms.first().expect("a product has a term");
        let (rows, out) = (first.x.rows, first.w.out());
        for Term { x, w, first } in terms {
            assert_eq!((x.input, x.precision, w.out()), (w.input(), w.precision(), out), "in, precision, out");
            assert_eq!(x.isa, isa, "activations of another instruction set");
            assert!(first + x.rows <= rows, "rows {first} to {} of {rows}", first + x.rows);
        }
        assert_eq!(first.first, 0);
        (rows, out)
    }

    /// Those of `rows` that this term is added to.
    pub(crate) fn within(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start.max(self.first)..rows.end.min(self.first + self.x.rows)
    }
}

/// `Σ terms` for some panels and rows. With `add` it is added to what the target holds.
///
/// The terms were checked; the target's first element is that of the first panel and first row.
pub(crate) struct Strip<'a> {
    pub(crate) terms: &'a [Term<'a>],
    pub(crate) panels: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) target: &'a Target<'a>,
    pub(crate) add: bool,
    /// Where this thread will probably go on: terms and their panel.
    pub(crate) then: (&'a [Term<'a>], usize),
}

impl Op for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut at = self.panels.start;
        while at < self.panels.end {
            let (one, left) = (self.rows.len() == 1, self.panels.end - at);
            at += match (S::WIDE, left) {
                (true, 6..) if one => self.columns::<S, 6>(s, at),
                (true, 2 | 4) => self.columns::<S, 2>(s, at),
                (true, 3..) => self.columns::<S, 3>(s, at),
                (false, 3..) if one => self.columns::<S, 3>(s, at),
                (false, 2) if one => self.columns::<S, 2>(s, at),
                _ => self.columns::<S, 1>(s, at),
            }
        }
    }
}

impl Strip<'_> {
    /// `P` panels from `panel` on; tells how many they were.
    #[inline(always)]
    fn columns<S: Simd, const P: usize>(&self, s: S, panel: usize) -> usize {
        let mut start = self.rows.start;
        while start < self.rows.end {
            let end = self.terms.iter().flat_map(|term| [term.first, term.first + term.x.rows]);
            let end = end.filter(|end| *end > start).min().unwrap_or(usize::MAX).min(self.rows.end);
            self.rows::<S, P>(s, panel, start..end);
            start = end;
        }
        P
    }

    /// Rows that have the same terms.
    #[inline(always)]
    fn rows<S: Simd, const P: usize>(&self, s: S, panel: usize, rows: Range<usize>) {
        let precision = self.terms[0].w.precision();
        let blocks_of_rows = rows.len().div_ceil(most::<S, P>(precision));
        let column = (panel - self.panels.start) * LANES;
        let mut place = Place { target: self.target, row: rows.start - self.rows.start, column, add: self.add };
        let has_rows = |term: &&Term<'_>| term.first <= rows.start && rows.end <= term.first + term.x.rows;
        let mut terms = self.terms.iter().filter(has_rows).peekable();
        while let Some(term) = terms.next() {
            let lines = term.w.weight_lines();
            let step = if blocks_of_rows == 1 { lines } else { lines.div_ceil(lines.div_ceil(SEGMENT_LINES).max(1)) };
            let step = step.next_multiple_of(LANES).max(LANES);
            // A short term goes along with the end of the one before it, all sums still in registers.
            let short = terms.next_if(|next| next.w.weight_lines() <= SHORT_LINES);
            let short = short.map(|next| {
                let lines = 0..next.w.weight_lines();
                segment::<P>(next, panel, rows.start - next.first, lines)
            });
            if short.is_some() {
                if panel == self.panels.start {
                    fetch_short::<S, P>(s, self.terms, panel);
                }
                let (terms, panel) = self.ahead::<P>(panel);
                fetch_short::<S, P>(s, terms, panel);
            }
            let mut first = 0;
            // A term without inputs is a zero that has to be written all the same.
            while first < lines || !place.add {
                let end = first + step;
                let mut part = segment::<P>(term, panel, rows.start - term.first, first..end.min(lines));
                part.next = self.next(term, panel, (end < lines).then_some(end));
                part.pace = if blocks_of_rows == 1 { START } else { TILE_LINES.div_ceil(blocks_of_rows) };
                let parts = [part, short.unwrap_or(part)];
                let parts = if short.is_some() && end >= lines { &parts } else { &parts[..1] };
                // SAFETY: the segments lie within panels and rows of their terms; the target holds these rows and columns.
                unsafe { blocks(s, precision, parts, rows.len(), place) };
                place.add = true;
                first = end;
            }
        }
    }

    /// What comes after a segment of `P` panels: more of them, the panels behind them, or the next unit.
    #[inline(always)]
    fn next<const P: usize>(&self, term: &Term<'_>, panel: usize, line: Option<usize>) -> [*const Line; P] {
        let (w, panel, line) = match line {
            Some(line) if term.w.precision() == Precision::Int8 => (term.w, panel, line / LANES * TILE_LINES),
            Some(line) => (term.w, panel, line),
            None => {
                let (terms, panel) = self.ahead::<P>(panel);
                (terms[0].w, panel, 0)
            }
        };
        std::array::from_fn(|p| w.panel((panel + p).min(w.count() - 1)).as_ptr().wrapping_add(line))
    }

    /// The terms and the panel that come after `P` panels.
    #[inline(always)]
    fn ahead<const P: usize>(&self, panel: usize) -> (&[Term<'_>], usize) {
        if panel + P < self.panels.end { (self.terms, panel + P) } else { self.then }
    }
}

/// Fetches the short terms of `P` panels. They are a few lines here and there, over before the CPU has seen that they are
/// read in order.
#[inline(always)]
fn fetch_short<S: Simd, const P: usize>(s: S, terms: &[Term<'_>], panel: usize) {
    let short = |term: &&Term<'_>| term.w.weight_lines() <= SHORT_LINES;
    for term in terms[1..].iter().filter(short) {
        for panel in panel..(panel + P).min(term.w.count()) {
            for line in term.w.panel(panel) {
                s.fetch(line);
            }
        }
    }
}

#[inline(always)]
fn segment<const P: usize>(term: &Term<'_>, panel: usize, row: usize, lines: Range<usize>) -> Segment<P> {
    let words = term.x.words_per_row();
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
        words: term.x.words[row * words + lines.start * term.x.line_words..].as_ptr(),
        word_stride: words,
        scales: term.x.scales[row * groups + group..].as_ptr(),
        offsets: term.x.offsets[row * groups + group..].as_ptr(),
        scale_stride: groups,
        next: panels,
        pace: 0,
    }
}

/// Where a block begins in its target, and whether it is added there.
#[derive(Clone, Copy)]
struct Place<'a> {
    target: &'a Target<'a>,
    row: usize,
    column: usize,
    add: bool,
}

/// Rows of a block: what the registers hold.
#[inline(always)]
fn most<S: Simd, const P: usize>(precision: Precision) -> usize {
    match precision {
        _ if P > 3 => 1,
        Precision::F32 | Precision::Bf16 if S::WIDE => 8,
        // Twelve sums, a line and a broadcast: the sixteen registers of AVX2 less one.
        Precision::F32 if P == 1 => 6,
        _ if S::WIDE && P < 3 => 6,
        _ => 4,
    }
}

/// All rows, a few at a time.
///
/// # Safety
/// The segments are good for `rows` rows, and so is the target, from `place` on.
#[inline(always)]
unsafe fn blocks<S: Simd, const P: usize>(
    s: S,
    precision: Precision,
    segments: &[Segment<P>],
    rows: usize,
    place: Place<'_>,
) {
    let most = most::<S, P>(precision);
    let mut row = 0;
    while row < rows {
        let block = Block { precision, segments, row, ahead: row / most };
        let place = Place { row: place.row + row, ..place };
        // SAFETY: as many rows are left.
        row += unsafe {
            match (rows - row).min(most) {
                8 if P <= 3 => block.compute::<S, 8>(s, place),
                6..8 if P < 3 => block.compute::<S, 6>(s, place),
                5 if P < 3 => block.compute::<S, 5>(s, place),
                4..8 if P <= 3 => block.compute::<S, 4>(s, place),
                3 if P <= 3 => block.compute::<S, 3>(s, place),
                2 if P <= 3 => block.compute::<S, 2>(s, place),
                _ => block.compute::<S, 1>(s, place),
            }
        };
    }
}

/// A few rows of some segments, whose sums stay in registers from the first segment to the last.
struct Block<'a, const P: usize> {
    precision: Precision,
    segments: &'a [Segment<P>],
    /// Its first row.
    row: usize,
    /// Blocks before it, each of which fetches its share of what comes next.
    ahead: usize,
}

impl<const P: usize> Block<'_, P> {
    /// `M` rows; tells how many they were.
    ///
    /// # Safety
    /// As [`blocks`], for `M` rows from `row` on.
    #[inline(always)]
    unsafe fn compute<S: Simd, const M: usize>(&self, s: S, Place { target, row, column, add }: Place<'_>) -> usize {
        let mut acc = [[s.splat(0.0); P]; M];
        if add {
            for (i, sums) in acc.iter_mut().enumerate() {
                for (p, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the target holds these rows and columns.
                    *sum = unsafe { target.load(s, row + i, column + p * LANES) };
                }
            }
        }
        for segment in self.segments {
            // SAFETY: the segment has `M` rows from this one on.
            let mut here = unsafe { segment.skip(self.row) };
            let fetched = self.ahead * segment.pace * segment.lines.div_ceil(LANES);
            here.next = here.next.map(|line| line.wrapping_add(fetched));
            // SAFETY: as promised.
            unsafe { tile::<S, M, P>(s, self.precision, here, &mut acc) };
        }
        for (i, sums) in acc.iter().enumerate() {
            for (p, sum) in sums.iter().enumerate() {
                // SAFETY: the target holds these rows and columns.
                unsafe { target.store(s, *sum, row + i, column + p * LANES) };
            }
        }
        M
    }
}
