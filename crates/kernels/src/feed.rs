//! The first half of a gated feed-forward network: `silu(x Wgᵀ) ∘ (x Wuᵀ)`, never written down in f32.
#![allow(unsafe_code)]

use std::cell::RefCell;

use crate::math::silu_mul;
use crate::precision::GROUP;
use crate::rows::{RowMut, load_part};
use crate::simd::{LANES, Op, Simd};
use crate::strip::{Strip, Term};
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
        let (rows, out) = Term::shape(self.isa(), gate);
        assert_eq!(Term::shape(self.isa(), up), (rows, out));
        let panels = out.div_ceil(LANES);
        assert!(y.input() == out && y.len() >= first + rows, "{} rows of {}", y.len(), y.input());
        let blocks = rows.div_ceil(UNIT_ROWS);
        let y = y.shared(self.isa());
        self.team().run(panels.div_ceil(UNIT_PANELS) * blocks, &|unit| {
            let (panel, row) = (unit / blocks * UNIT_PANELS, unit % blocks * UNIT_ROWS);
            let (panels, rows) = (panel..(panel + UNIT_PANELS).min(panels), row..(row + UNIT_ROWS).min(rows));
            let columns = panels.start * LANES..(panels.end * LANES).min(out);
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(2 * UNIT_ROWS * GROUP, 0.0);
                let (first_half, second_half) = scratch.split_at_mut(UNIT_ROWS * GROUP);
                // Units are dealt in turn, so this is most often right.
                let after = (unit + self.team().threads()) / blocks * UNIT_PANELS;
                let gates = (gate, &mut *first_half, (up, panels.start));
                for (terms, values, then) in [gates, (up, &mut *second_half, (gate, after))] {
                    let matrix = Matrix::new(&mut values[..rows.len() * GROUP], GROUP);
                    // SAFETY: the only part of this matrix.
                    let target = &unsafe { matrix.part(0..rows.len(), 0..columns.len()) };
                    let (panels, rows) = (panels.clone(), rows.clone());
                    self.isa().multiply(Strip { terms, panels, rows, target, add: false, then });
                }
                for (i, row) in rows.enumerate() {
                    // SAFETY: units of the same rows write different groups, and those of one group different rows: each
                    // group of each row is written by one unit.
                    let to = unsafe { y.group(first + row, columns.start / GROUP) };
                    let values = i * GROUP..i * GROUP + columns.len();
                    self.isa().run(Combine { gate: &first_half[values.clone()], up: &second_half[values], to });
                }
            });
        });
    }
}

/// `silu(gate) ∘ up` of one group of one row.
struct Combine<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    to: RowMut<'a>,
}

impl Op for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut products = [0.0; GROUP];
        for (i, product) in products.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let (gate, up) = (load_part(s, self.gate, i * LANES), load_part(s, self.up, i * LANES));
            s.store(silu_mul(s, gate, up), product);
        }
        self.to.write(s, 0, &products[..self.gate.len()]);
    }
}
