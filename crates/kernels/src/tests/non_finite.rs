//! What is not a number never looks like an answer, and stays where it belongs.

use super::{every_isa, random, rows};
use crate::{Panels, Precision, Product, Rows, Term};

const BAD: [f32; 5] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7fff_ffff), f32::from_bits(u32::MAX)];
const M: usize = 6;
const OUT: usize = 19;

/// Products of `x` and `w`, both of `input` columns, in each precision on each instruction set.
fn products(input: usize, x: &[f32], w: &[f32], check: impl Fn(&[f32], &str)) {
    for precision in Precision::ALL {
        let packed = Panels::pack(precision, OUT, input, w);
        for compute in every_isa() {
            let x = rows(compute.isa(), precision, input, x);
            let mut y = vec![0.0; M * OUT];
            compute.multiply(&mut [Product {
                terms: &[Term { x: x.view(), w: &packed, first: 0 }],
                y: &mut y,
                add: false,
            }]);
            check(&y, &format!("{} {precision}", compute.isa().name()));
        }
    }
}

#[test]
fn an_activation_spoils_its_row_and_no_other() {
    for bad in BAD {
        for at in [0, 63, 64, 99] {
            let (mut x, w) = (random(M * 100, 1), random(OUT * 100, 2));
            x[3 * 100 + at] = bad;
            // Beside it in its group too: sums of them must not overflow either.
            x[3 * 100 + at / 16 * 16] = bad;
            products(100, &x, &w, |y, what| {
                for (i, y) in y.chunks(OUT).enumerate() {
                    let finite = y.iter().filter(|y| y.is_finite()).count();
                    assert_eq!(finite, if i == 3 { 0 } else { OUT }, "{what} row {i}, {bad} at {at}: {y:?}");
                }
            });
        }
    }
}

#[test]
fn a_weight_spoils_its_output_and_no_other() {
    for bad in BAD {
        for at in [0, 63, 64, 99] {
            let (x, mut w) = (random(M * 100, 1), random(OUT * 100, 2));
            w[17 * 100 + at] = bad;
            products(100, &x, &w, |y, what| {
                for (i, y) in y.iter().enumerate() {
                    assert_eq!(y.is_finite(), i % OUT != 17, "{what} [{i}], {bad} at {at}");
                }
            });
        }
    }
}

#[test]
fn norm_and_feed_pass_it_on() {
    for precision in Precision::ALL {
        let [gate, up] = [1, 2].map(|seed| Panels::pack(precision, 70, 40, &random(70 * 40, seed)));
        let down = Panels::pack(precision, OUT, 70, &random(OUT * 70, 3));
        for compute in every_isa() {
            for bad in BAD {
                let mut x = random(M * 40, 4);
                x[2 * 40 + 39] = bad;
                let (mut normed, mut fed) =
                    (Rows::new(compute.isa(), precision, 40), Rows::new(compute.isa(), precision, 70));
                normed.resize(M);
                fed.resize(M);
                compute.rms_norm(&x, 0..M, &[1.0; 40], 1e-5, &mut normed);
                let [gate, up] = [&gate, &up].map(|w| [Term { x: normed.view(), w, first: 0 }]);
                compute.gated_feed(&gate, &up, 0, &mut fed);
                let mut y = vec![0.0; M * OUT];
                compute.multiply(&mut [Product {
                    terms: &[Term { x: fed.view(), w: &down, first: 0 }],
                    y: &mut y,
                    add: false,
                }]);
                for (i, y) in y.chunks(OUT).enumerate() {
                    let finite = y.iter().filter(|y| y.is_finite()).count();
                    let what = compute.isa().name();
                    assert_eq!(finite, if i == 2 { 0 } else { OUT }, "{what} {precision} row {i}, {bad}: {y:?}");
                }
            }
        }
    }
}
