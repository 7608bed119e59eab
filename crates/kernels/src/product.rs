//! Products of activations and packed weights, several of them in one phase.
#![allow(unsafe_code)]

use std::array;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::AcqRel;

use crate::norm::{ChangeRow, Plain};
use crate::rows::SharedRows;
use crate::simd::LANES;
use crate::strip::{Strip, Term};
use crate::target::Matrix;
use crate::{Compute, Isa, Rows};

/// Panels of one unit of work: the largest of these that leaves no thread with more work than the others would.
const UNIT_PANELS: [usize; 4] = [6, 3, 2, 1];
/// Words of activations that meet a line of weights in one unit of work: a second-level cache holds a unit's rows.
const UNIT_WORDS: usize = 128;
/// Fewest rows of one unit of work where rows are converted afterwards.
const CONVERTED_ROWS: usize = 32;
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

/// `to = convert(change(product))`: what the next product reads.
pub struct Converted<'a> {
    /// Its `y` holds the changed values afterwards.
    pub product: Product<'a>,
    /// (rows, out)
    pub to: &'a mut Rows,
    /// The change.
    pub change: &'a ChangeRow<'a>,
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
            let mut products = products.iter_mut();
            self.compute(array::from_fn(|_| products.next().map(|p| Job::new(self.isa(), p))));
        }
    }

    /// As [`Self::multiply`]; whoever computes the last part of some rows changes and converts them at once, which saves a
    /// phase.
    ///
    /// # Panics
    /// As [`Self::multiply`].
    pub fn multiply_converted(&self, products: &mut [Converted<'_>]) {
        for products in products.chunks_mut(TOGETHER) {
            let mut products = products.iter_mut();
            self.compute(array::from_fn(|_| products.next().map(|p| Job::converted(self.isa(), p))));
        }
    }

    fn compute(&self, mut jobs: [Option<Job<'_>>; TOGETHER]) {
        let threads = self.team().threads();
        let units = |panels| jobs.iter().flatten().map(|job| job.shape.units(panels)).sum::<usize>();
        let busiest = |panels: &usize| units(*panels).div_ceil(threads) * panels;
        // The first of equal ones.
        let unit_panels = UNIT_PANELS.into_iter().min_by_key(busiest).unwrap_or(1);
        let units = units(unit_panels);
        for job in jobs.iter_mut().flatten() {
            job.deal(unit_panels);
        }
        self.team().run(units, &|mut unit| {
            for job in jobs.iter().flatten() {
                let own = job.shape.units(unit_panels);
                if unit < own {
                    return job.compute(self, unit);
                }
                unit -= own;
            }
        });
    }
}

/// Rows, and panels of outputs.
#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    panels: usize,
    unit_rows: usize,
}

impl Shape {
    fn blocks(self) -> usize {
        self.rows.div_ceil(self.unit_rows)
    }

    fn units(self, unit_panels: usize) -> usize {
        self.panels.div_ceil(unit_panels) * self.blocks()
    }

    /// Panels and rows of a unit. Units of the same panels are neighbours: their weights are still in a cache.
    fn unit(self, unit_panels: usize, unit: usize) -> (Range<usize>, Range<usize>) {
        let (panel, row) = (unit / self.blocks() * unit_panels, unit % self.blocks() * self.unit_rows);
        (panel..(panel + unit_panels).min(self.panels), row..(row + self.unit_rows).min(self.rows))
    }
}

/// A product that was checked.
struct Job<'a> {
    terms: &'a [Term<'a>],
    y: Matrix<'a>,
    out: usize,
    add: bool,
    shape: Shape,
    unit_panels: usize,
    finish: Option<Finish<'a>>,
}

/// What happens to rows when all their panels are computed.
struct Finish<'a> {
    to: SharedRows<'a>,
    change: &'a ChangeRow<'a>,
    /// For each block of rows, units that are not done yet.
    left: [AtomicUsize; BLOCKS],
}

/// Most blocks of rows of a product that is converted.
const BLOCKS: usize = 16;

impl<'a> Job<'a> {
    fn new(isa: Isa, product: &'a mut Product<'_>) -> Self {
        let (rows, out) = Term::shape(isa, product.terms);
        let (panels, unit_rows) = (out.div_ceil(LANES), UNIT_WORDS / product.terms[0].x.line_words);
        assert_eq!(product.y.len(), rows * out, "({rows}, {out})");
        let (y, shape) = (Matrix::new(product.y, out), Shape { rows, panels, unit_rows });
        Self { terms: product.terms, y, out, add: product.add, shape, unit_panels: 1, finish: None }
    }

    fn converted(isa: Isa, Converted { product, to, change }: &'a mut Converted<'_>) -> Self {
        let mut job = Self::new(isa, product);
        job.shape.unit_rows = to.len().div_ceil(BLOCKS).max(CONVERTED_ROWS);
        assert_eq!((to.len(), to.input()), (job.shape.rows, job.out), "rows, out");
        let left = [const { AtomicUsize::new(0) }; BLOCKS];
        job.finish = Some(Finish { to: to.shared(isa), change: *change, left });
        job
    }

    fn deal(&mut self, unit_panels: usize) {
        self.unit_panels = unit_panels;
        for left in self.finish.iter_mut().flat_map(|finish| &mut finish.left) {
            *left.get_mut() = self.shape.panels.div_ceil(unit_panels);
        }
    }

    fn compute(&self, compute: &Compute, unit: usize) {
        let (panels, rows) = self.shape.unit(self.unit_panels, unit);
        let columns = panels.start * LANES..(panels.end * LANES).min(self.out);
        // SAFETY: units are disjoint blocks of rows and panels, and each is computed once.
        let target = unsafe { self.y.part(rows.clone(), columns) };
        // Units are dealt in turn, so this is most often right.
        let (then, _) = self.shape.unit(self.unit_panels, unit + compute.team().threads());
        let (terms, add, then) = (self.terms, self.add, (self.terms, then.start));
        compute.isa().multiply(Strip { terms, panels, rows: rows.clone(), target: &target, add, then });
        let Some(finish) = &self.finish else { return };
        // Whoever comes last has seen what the others wrote.
        if finish.left[unit % self.shape.blocks()].fetch_sub(1, AcqRel) == 1 {
            for row in rows {
                // SAFETY: all units of these rows are done, and nobody else comes last.
                let (x, to) = unsafe { (self.y.row(row), finish.to.row(row)) };
                (finish.change)(row, x);
                compute.isa().run(Plain { x, to });
            }
        }
    }
}
