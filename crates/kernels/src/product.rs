//! Products of activations and packed weights, several of them in one phase.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::Compute;
use crate::simd::LANES;
use crate::strip::{Strip, Term};
use crate::target::Matrix;

/// Panels of one unit of work.
const UNIT_PANELS: usize = 6;
/// Rows of one unit of work.
const UNIT_ROWS: usize = 128;
/// Products of one phase.
const TOGETHER: usize = 8;

/// `y = Σ terms`, or `y += Σ terms` with `add`.
#[derive(Debug)]
pub struct Product<'a> {
    /// Summands, added in this order: the base first, for all rows, then the stacked factors of the policies.
    pub terms: &'a [Term<'a>],
    /// (rows, out), f32 row-major.
    pub y: &'a mut [f32],
    /// Whether `y` holds something to be added to: a bias, or the residual stream.
    pub add: bool,
}

impl Compute {
    /// Computes several products, eight of them in one phase.
    ///
    /// Every element is one chain of multiply-adds over the inputs in their order, so its bits do not depend on the number
    /// of rows, on neighbours or on threads.
    ///
    /// # Panics
    /// When shapes or precisions do not fit each other.
    pub fn multiply(&self, products: &mut [Product<'_>]) {
        for products in products.chunks_mut(TOGETHER) {
            let mut jobs: [Option<Job<'_>>; TOGETHER] = [const { None }; TOGETHER];
            let mut units = 0;
            for (job, product) in jobs.iter_mut().zip(products) {
                let made = Job::new(product);
                units += made.shape.units();
                *job = Some(made);
            }
            self.team().run(units, &|mut unit| {
                for job in jobs.iter().flatten() {
                    if unit < job.shape.units() {
                        return job.compute(self, unit);
                    }
                    unit -= job.shape.units();
                }
            });
        }
    }
}

/// Rows, and panels of outputs.
#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    panels: usize,
}

impl Shape {
    fn units(self) -> usize {
        self.panels.div_ceil(UNIT_PANELS) * self.rows.div_ceil(UNIT_ROWS)
    }

    /// Panels and rows of a unit. Units of the same panels are neighbours: their weights are still in a cache.
    fn unit(self, unit: usize) -> (Range<usize>, Range<usize>) {
        let blocks = self.rows.div_ceil(UNIT_ROWS);
        let (panel, row) = (unit / blocks * UNIT_PANELS, unit % blocks * UNIT_ROWS);
        (panel..(panel + UNIT_PANELS).min(self.panels), row..(row + UNIT_ROWS).min(self.rows))
    }
}

/// A product that was checked.
struct Job<'a> {
    terms: &'a [Term<'a>],
    y: Matrix<'a>,
    out: usize,
    add: bool,
    shape: Shape,
}

impl<'a> Job<'a> {
    fn new(product: &'a mut Product<'_>) -> Self {
        let (rows, out) = Term::shape(product.terms);
        let panels = out.div_ceil(LANES);
        assert_eq!(product.y.len(), rows * out, "({rows}, {out})");
        let y = Matrix::new(product.y, out);
        Self { terms: product.terms, y, out, add: product.add, shape: Shape { rows, panels } }
    }

    fn compute(&self, compute: &Compute, unit: usize) {
        let (panels, rows) = self.shape.unit(unit);
        let columns = panels.start * LANES..(panels.end * LANES).min(self.out);
        // SAFETY: units are disjoint blocks of rows and panels, and each is computed once.
        let target = unsafe { self.y.part(rows.clone(), columns) };
        // Units are dealt in turn, so this is most often right.
        let (then, _) = self.shape.unit(unit + compute.team().threads());
        let then = (self.terms[0].w, then.start);
        compute.isa().multiply(Strip { terms: self.terms, panels, rows, target: &target, add: self.add, then });
    }
}
