//! A row's bits in any batch, chunk and team.

use super::{bits, compute, every_isa, random, rows};
use crate::{Compute, Panels, Precision, Product, Rows, Term};

/// Several kernels over the same rows: a product of two terms, and a norm with a gated feed.
struct Model {
    precision: Precision,
    input: usize,
    out: usize,
    wide: Panels,
    narrow: Panels,
    gate: Panels,
    up: Panels,
    norm: Vec<f32>,
}

const RANK: usize = 12;

impl Model {
    fn new(precision: Precision, input: usize, out: usize) -> Self {
        let pack = |out: usize, input: usize, seed| Panels::pack(precision, out, input, &random(out * input, seed));
        let (wide, narrow) = (pack(out, input, 1), pack(out, RANK, 2));
        Self {
            precision,
            input,
            out,
            wide,
            narrow,
            gate: pack(70, input, 3),
            up: pack(70, input, 4),
            norm: random(input, 5),
        }
    }

    /// All bits of all rows, one row after the other.
    fn forward(&self, compute: &Compute, x: &[f32]) -> Vec<u32> {
        let m = x.len() / self.input;
        let narrow: Vec<f32> = x.chunks(self.input).flat_map(|x| &x[..RANK]).copied().collect();
        let narrow = rows(compute.isa(), self.precision, RANK, &narrow);
        let (mut normed, mut fed) =
            (Rows::new(compute.isa(), self.precision, self.input), Rows::new(compute.isa(), self.precision, 70));
        normed.resize(m);
        fed.resize(m);
        compute.rms_norm(x, 0..m, &self.norm, 1e-5, &mut normed);
        let mut y = vec![0.5; m * self.out];
        let terms =
            [Term { x: normed.view(), w: &self.wide, first: 0 }, Term { x: narrow.view(), w: &self.narrow, first: 0 }];
        compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: true }]);
        let [gate, up] = [&self.gate, &self.up].map(|w| [Term { x: normed.view(), w, first: 0 }]);
        compute.gated_feed(&gate, &up, 0, &mut fed);
        let row = |i: usize| {
            let fed = fed.range(i..i + 1);
            [&bits(&y[i * self.out..][..self.out]), fed.words, &bits(fed.scales)].concat()
        };
        (0..m).flat_map(row).collect()
    }
}

fn check(precision: Precision, m: usize, input: usize, out: usize, chunks: &[usize]) {
    let (model, x) = (Model::new(precision, input, out), random(m * input, 9));
    for isa in every_isa().iter().map(Compute::isa) {
        let whole = model.forward(&compute(isa, 1), &x);
        for threads in [1, 2, 3] {
            let compute = compute(isa, threads);
            for chunk in chunks {
                let parts = x.chunks(chunk * input).flat_map(|x| model.forward(&compute, x));
                assert!(whole == parts.collect::<Vec<_>>(), "{} {precision} {chunk}", isa.name());
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    for precision in Precision::ALL {
        if cfg!(miri) {
            check(precision, 3, 20, 17, &[1, 2]);
        } else {
            check(precision, 21, 601, 211, &[1, 2, 3, 5, 8, 16, 17, 21]);
        }
    }
}

#[test]
fn long_chunks_change_nothing() {
    if !cfg!(miri) {
        Precision::ALL.into_iter().for_each(|precision| check(precision, 150, 70, 33, &[1, 64, 129, 150]));
    }
}
