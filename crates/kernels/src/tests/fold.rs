//! Folded weights against packed ones and a dense f64 sum.

use std::convert::Infallible;
use std::ops::Range;

use super::random;
use crate::simd::LANES;
use crate::{Change, Isa, Panels, Precision};

#[test]
fn folding_is_adding_the_product_and_packing() {
    for isa in Isa::available() {
        for (out, input, rank) in [(16, 64, 3), (7, 37, 5), (33, 200, 1)] {
            let (weight, a, b) = (random(out * input, 1), random(rank * input, 2), random(out * rank, 3));
            let dense = |i: usize| -> f64 {
                let (row, column) = (i / input, i % input);
                let change = |r| f64::from(b[row * rank + r]) * f64::from(a[r * input + column]);
                f64::from(weight[i]) + (0..rank).map(change).sum::<f64>()
            };
            let fold = |precision| {
                let rows =
                    |rows: Range<usize>| Ok::<_, Infallible>(weight[rows.start * input..rows.end * input].to_vec());
                Panels::fold(isa, precision, [out, input], rows, Change { a: &a, b: &b }).unwrap().unwrap()
            };
            let exact = fold(Precision::F32);
            let value = |i: usize| {
                let (row, column) = (i / input, i % input);
                f32::from_bits(exact.panel(row / LANES)[column].as_u32()[row % LANES])
            };
            let folded: Vec<f32> = (0..out * input).map(value).collect();
            for (i, value) in folded.iter().enumerate() {
                assert!((f64::from(*value) - dense(i)).abs() < 1e-5, "{} {value} is not {}", isa.name(), dense(i));
            }
            for precision in Precision::ALL {
                let (panels, packed) = (fold(precision), Panels::pack(precision, out, input, &folded));
                let same = (0..panels.count()).all(|panel| panels.panel(panel) == packed.panel(panel));
                assert!(same, "{} {precision} ({out}, {input})", isa.name());
            }
        }
    }
}

#[test]
fn what_overflows_is_told() {
    for isa in Isa::available() {
        let (a, b) = (vec![1e30; 64], vec![1e30; 16]);
        let change = Change { a: &a, b: &b };
        let zeros = |rows: Range<usize>| Ok::<_, Infallible>(vec![0.0; rows.len() * 64]);
        assert!(Panels::fold(isa, Precision::Int8, [16, 64], zeros, change).unwrap().is_none());
    }
}
