//! Folded weights against a dense f64 sum.

use std::convert::Infallible;
use std::ops::Range;

use super::{every_isa, random};
use crate::panels::TILE_LINES;
use crate::simd::LANES;
use crate::{Change, Compute, Isa, Panels, Precision};

/// `W + B A`, random, and what it is in f64.
struct Case {
    shape: [usize; 2],
    weight: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Case {
    fn new([out, input]: [usize; 2], rank: usize) -> Self {
        let (weight, a, b) = (random(out * input, 1), random(rank * input, 2), random(out * rank, 3));
        Self { shape: [out, input], weight, a, b }
    }

    fn fold(&self, isa: Isa, precision: Precision) -> Panels {
        let input = self.shape[1];
        let rows = |rows: Range<usize>| Ok::<_, Infallible>(self.weight[rows.start * input..rows.end * input].to_vec());
        let change = Change { a: &self.a, b: &self.b };
        Panels::fold(isa, precision, self.shape, rows, change).unwrap().unwrap()
    }

    /// The summands of the change of one weight.
    fn products(&self, i: usize) -> impl Iterator<Item = (f64, f64)> {
        let [out, input] = self.shape;
        let (row, column, rank) = (i / input, i % input, self.b.len() / out);
        (0..rank).map(move |r| (f64::from(self.b[row * rank + r]), f64::from(self.a[r * input + column])))
    }

    fn exact(&self) -> Vec<f64> {
        let value = |i: usize| f64::from(self.weight[i]) + self.products(i).map(|(b, a)| b * a).sum::<f64>();
        (0..self.weight.len()).map(value).collect()
    }
}

/// What packed weights stand for, (out, in).
fn unpacked(panels: &Panels) -> Vec<f64> {
    let (out, input) = (panels.out(), panels.input());
    let value = |i: usize| {
        let (lane, panel) = (i / input % LANES, panels.panel(i / input / LANES));
        let at = i % input;
        let word = |line: usize| panel[line].as_u32()[lane];
        match panels.precision() {
            Precision::F32 => f64::from(f32::from_bits(word(at))),
            Precision::Bf16 => f64::from(f32::from_bits(word(at / 2) >> (at % 2 * 16) << 16)),
            Precision::Int8 => {
                let tile = at / 64 * TILE_LINES;
                let scale = f32::from_bits(word(panel.len().min(tile + TILE_LINES) - 1));
                let byte = word(tile + at % 64 / 4).to_le_bytes()[at % 4];
                (f64::from(byte) - 128.0) * f64::from(scale)
            }
        }
    };
    (0..out * input).map(value).collect()
}

#[test]
fn folding_is_adding_the_product_and_packing() {
    for isa in every_isa().iter().map(Compute::isa) {
        for (shape, rank) in [([16, 64], 3), ([7, 37], 5), ([33, 200], 1), ([17, 130], 96)] {
            if cfg!(miri) && shape[0] > 16 {
                continue;
            }
            let case = Case::new(shape, rank);
            let exact = case.exact();
            for precision in Precision::ALL {
                let folded = unpacked(&case.fold(isa, precision));
                for (i, (value, wanted)) in folded.iter().zip(&exact).enumerate() {
                    let group = i / shape[1] * shape[1] + i % shape[1] / 64 * 64;
                    let of_group = &exact[group..exact.len().min(group + 64).min((i / shape[1] + 1) * shape[1])];
                    let largest = of_group.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                    // What the factors lose, then what the sum loses. Balanced factors are below two.
                    let magnitudes = case.products(i).map(|(b, a)| (b.abs(), a.abs()));
                    let slack = match precision {
                        Precision::F32 => 1e-6 * (1.0 + largest),
                        Precision::Bf16 => magnitudes.map(|(b, a)| a * b / 120.0).sum::<f64>() + wanted.abs() / 250.0,
                        Precision::Int8 => magnitudes.map(|(b, a)| (a + b) / 120.0).sum::<f64>() + largest / 250.0,
                    };
                    let what = isa.name();
                    assert!((value - wanted).abs() <= slack, "{what} {precision} {shape:?}: {value} is not {wanted}");
                }
            }
        }
    }
}

#[test]
fn ranks_of_different_sizes_keep_their_changes() {
    // One policy's A is as small as its B is large, the other's the other way round; their ranks share scales.
    let mut case = Case::new([16, 64], 8);
    let (small, large) = (1e-4, 1e2);
    for (r, row) in case.a.chunks_exact_mut(64).enumerate() {
        row.iter_mut().for_each(|a| *a *= if r < 4 { small } else { large });
    }
    for row in case.b.chunks_exact_mut(8) {
        for (r, b) in row.iter_mut().enumerate() {
            *b *= if r < 4 { large } else { small };
        }
    }
    case.weight.fill(0.0);
    let exact = case.exact();
    for isa in every_isa().iter().map(Compute::isa) {
        let folded = unpacked(&case.fold(isa, Precision::Int8));
        let largest = exact.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for (value, wanted) in folded.iter().zip(&exact) {
            assert!((value - wanted).abs() < 0.03 * largest, "{}: {value} is not {wanted}", isa.name());
        }
    }
}

#[test]
fn what_overflows_is_told() {
    for isa in every_isa().iter().map(Compute::isa) {
        let (a, b) = (vec![1e30; 64], vec![1e30; 16]);
        let change = Change { a: &a, b: &b };
        let zeros = |rows: Range<usize>| Ok::<_, Infallible>(vec![0.0; rows.len() * 64]);
        assert!(Panels::fold(isa, Precision::Int8, [16, 64], zeros, change).unwrap().is_none());
    }
}
