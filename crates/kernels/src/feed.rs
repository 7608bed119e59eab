//! The first half of a gated feed-forward network: `silu(x Wgᵀ) ∘ (x Wuᵀ)`, never written down in f32.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use crate::math::silu_mul;
use crate::precision::GROUP;
use crate::rows::{SharedRows, load_part};
use crate::simd::{LANES, Op, Simd};
use crate::strip::{Term, strip};
use crate::target::Matrix;
use crate::{Compute, Rows};

/// Panels of each of the two matrices in one unit of work: what the following product takes as one group.
const UNIT_PANELS: usize = GROUP / LANES;
/// Rows of one unit of work.
const UNIT_ROWS: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Compute {
    /// `y = silu(Σ gate) ∘ Σ up` (Shazeer, arXiv 2002.05202), rows from `first` on of `y`.
    ///
    /// # Panics
    /// When shapes or precisions do not fit each other.
    pub fn gated_feed(&self, gate: &[Term<'_>], up: &[Term<'_>], first: usize, y: &mut Rows) {
        let (rows, out) = Term::shape(gate);
        assert_eq!(Term::shape(up), (rows, out));
        let panels = out.div_ceil(LANES);
        assert!(y.input() == out && y.len() >= first + rows, "{} rows of {}", y.len(), y.input());
        let blocks = rows.div_ceil(UNIT_ROWS);
        let y = y.shared();
        self.team().run(panels.div_ceil(UNIT_PANELS) * blocks, &|unit| {
            let (panel, row) = (unit / blocks * UNIT_PANELS, unit % blocks * UNIT_ROWS);
            let (panels, rows) = (panel..(panel + UNIT_PANELS).min(panels), row..(row + UNIT_ROWS).min(rows));
            let columns = panels.start * LANES..(panels.end * LANES).min(out);
            SCRATCH.with_borrow_mut(|scratch| {
                self.isa().run(Feed { terms: [gate, up], panels, rows, columns, first, y: &y, scratch });
            });
        });
    }
}

struct Feed<'a> {
    terms: [&'a [Term<'a>]; 2],
    panels: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    first: usize,
    y: &'a SharedRows<'a>,
    scratch: &'a mut Vec<f32>,
}

impl Op for Feed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, width) = (self.rows.len(), self.columns.len());
        self.scratch.resize(2 * UNIT_ROWS * GROUP, 0.0);
        let (gate, up) = self.scratch.split_at_mut(UNIT_ROWS * GROUP);
        for (terms, values) in self.terms.into_iter().zip([&mut *gate, &mut *up]) {
            let matrix = Matrix::new(&mut values[..rows * GROUP], GROUP);
            // SAFETY: the only part of this matrix.
            let target = unsafe { matrix.part(0..rows, 0..width) };
            strip(s, terms, self.panels.clone(), self.rows.clone(), &target, false);
        }
        for (i, row) in self.rows.clone().enumerate() {
            let gate = &mut gate[i * GROUP..][..GROUP];
            for at in (0..width).step_by(LANES) {
                let product =
                    silu_mul(s, load_part(s, &gate[..width], at), load_part(s, &up[i * GROUP..][..width], at));
                let mut lanes = [0.0; LANES];
                s.store(product, &mut lanes);
                let len = (width - at).min(LANES);
                gate[at..at + len].copy_from_slice(&lanes[..len]);
            }
            // SAFETY: units of the same rows write different groups, and those of one group different rows: each group of
            // each row is written by one unit.
            unsafe { self.y.group(self.first + row, self.columns.start / GROUP) }.write(s, 0, &gate[..width]);
        }
    }
}
