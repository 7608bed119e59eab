//! RMS norm, straight into the activations of the next product.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::rows::{RowMut, load_part};
use crate::simd::{LANES, Op, Simd};
use crate::{Compute, Rows};

/// Values that are normed together before they are converted: a whole number of groups.
const PIECE: usize = 256;

impl Compute {
    /// `y = x / rms(x) · weight`, `rms(x) = √(mean(x²) + eps)` (Zhang and Sennrich, arXiv 1910.07467), for each of `rows`.
    ///
    /// `x` (rows, in) f32 row-major; `y` gets the same rows.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn rms_norm(&self, x: &[f32], rows: Range<usize>, weight: &[f32], eps: f32, y: &mut Rows) {
        let width = weight.len();
        assert!(y.input() == width && x.len() >= rows.end * width && y.len() >= rows.end);
        self.each_row(rows, y, &|row, to| {
            self.isa().run(Norm { x: &x[row * width..][..width], weight, eps, to });
        });
    }

    /// Converts `x` (rows, in) f32 row-major to the activations of a product.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn convert(&self, x: &[f32], y: &mut Rows) {
        let width = y.input();
        assert_eq!(x.len(), y.len() * width);
        self.each_row(0..y.len(), y, &|row, to| {
            self.isa().run(Plain { x: &x[row * width..][..width], to });
        });
    }

    fn each_row(&self, rows: Range<usize>, y: &mut Rows, work: &(dyn Fn(usize, RowMut<'_>) + Sync)) {
        let shared = y.shared(self.isa());
        self.each(rows.len(), &|unit| {
            let row = rows.start + unit;
            // SAFETY: each row is taken once.
            work(row, unsafe { shared.row(row) });
        });
    }

    /// Rows are little work: several of them make a unit.
    fn each(&self, rows: usize, work: &(dyn Fn(usize) + Sync)) {
        let per_unit = rows.div_ceil(2 * self.team().threads()).max(1);
        self.team().run(rows.div_ceil(per_unit), &|unit| {
            (unit * per_unit..((unit + 1) * per_unit).min(rows)).for_each(work);
        });
    }
}

/// What happens to a row before it is converted: it gets the row's index and values.
pub type ChangeRow<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    to: RowMut<'a>,
}

impl Op for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut squares = s.splat(0.0);
        for at in (0..self.x.len()).step_by(LANES) {
            let x = load_part(s, self.x, at);
            squares = s.mul_add(x, x, squares);
        }
        let mean = s.sum(squares) / self.x.len() as f32;
        let scale = s.splat(1.0 / (mean + self.eps).sqrt());
        let mut piece = [0.0; PIECE];
        for start in (0..self.x.len()).step_by(PIECE) {
            let len = (self.x.len() - start).min(PIECE);
            for (i, out) in piece.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                let at = start + i * LANES;
                let (x, weight) = (load_part(s, self.x, at), load_part(s, self.weight, at));
                s.store(s.mul(s.mul(x, scale), weight), out);
            }
            self.to.write(s, start, &piece[..len]);
        }
    }
}

/// The values as they are.
pub(crate) struct Plain<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) to: RowMut<'a>,
}

impl Op for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.to.write(s, 0, self.x);
    }
}
