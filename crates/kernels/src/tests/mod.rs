//! Every instruction set of this machine against f64 oracles that share no code with the kernels.

mod attention;
mod elementwise;
mod exact;
mod fold;
mod invariance;
mod isa;
mod likelihood;
mod memory;
mod non_finite;
mod products;
mod team;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Compute, Isa, Precision, Rows, RowsView, Team};

/// Uniform in -1..1.
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Kernels of `isa` on a team of `threads`.
fn compute(isa: Isa, threads: usize) -> Compute {
    Compute::new(isa, Team::new(threads).expect("threads"))
}

/// One for each instruction set; Miri's interpreter has the portable one alone.
fn every_isa() -> Vec<Compute> {
    let sets = if cfg!(miri) { vec![Isa::PORTABLE] } else { Isa::available() };
    sets.into_iter().map(|isa| compute(isa, 2)).collect()
}

/// `values`, (rows, in), as activations.
fn rows(isa: Isa, precision: Precision, input: usize, values: &[f32]) -> Rows {
    let mut rows = Rows::new(isa, precision, input);
    rows.resize(values.len() / input);
    for (i, row) in values.chunks(input).enumerate() {
        rows.set(i, row);
    }
    rows
}

/// The bf16 values of rows, however this instruction set keeps them.
fn halves(view: RowsView<'_>) -> Vec<f32> {
    let pair = |word: &u32| [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)];
    match view.line_words {
        1 => view.words.iter().flat_map(pair).collect(),
        2 => view.words.iter().map(|word| f32::from_bits(*word)).collect(),
        other => panic!("{other} words"),
    }
}

/// The int8 values of rows, however this instruction set keeps them.
fn quantised(view: RowsView<'_>) -> Vec<i32> {
    let bytes = |word: &u32| word.to_le_bytes().map(|b| i32::from(b as i8));
    let short = |word: u32| [i32::from(word as i16), i32::from((word >> 16) as i16)];
    let quad = |[even, odd]: &[u32; 2]| {
        let ([a, c], [b, d]) = (short(*even), short(*odd));
        [a, b, c, d]
    };
    match view.line_words {
        1 => view.words.iter().flat_map(bytes).collect(),
        2 => view.words.as_chunks().0.iter().flat_map(quad).collect(),
        other => panic!("{other} words"),
    }
}

/// What `precision` makes of a value; int8 depends on neighbours, so its error is part of each test's bound.
fn rounded(precision: Precision, x: f32) -> f64 {
    if precision == Precision::Bf16 { half::bf16::from_f32(x).to_f64() } else { f64::from(x) }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}
