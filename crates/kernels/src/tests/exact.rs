//! int8, bit by bit, against the drawing of the layout.

use super::{every_isa, quantised, random, rows};
use crate::panels::TILE_LINES;
use crate::{GROUP, Isa, Panels, Precision, Product, Rows, Term};

/// An integer for each value and a scale for each group, as stored.
struct Quantised {
    values: Vec<i32>,
    scales: Vec<f32>,
}

fn weights(w: &Panels, output: usize) -> Quantised {
    let (panel, lane) = (w.panel(output / 16), output % 16);
    let mut found = Quantised { values: Vec::new(), scales: Vec::new() };
    for tile in panel.chunks(TILE_LINES) {
        let (scales, lines) = tile.split_last().unwrap();
        for line in lines {
            found.values.extend(line.as_bytes()[4 * lane..][..4].iter().map(|b| i32::from(*b) - 128));
        }
        found.scales.push(scales.as_f32()[lane]);
    }
    found
}

fn activations(x: &Rows, row: usize) -> Quantised {
    let view = x.range(row..row + 1);
    Quantised { values: quantised(view), scales: view.scales.to_vec() }
}

/// Within half a step, and zero beyond the end.
fn assert_quantised(found: &Quantised, values: &[f32]) {
    for (group, values) in values.chunks(GROUP).enumerate() {
        let scale = found.scales[group];
        let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert_eq!(scale, largest / 127.0);
        for (q, v) in found.values[group * GROUP..].iter().zip(values) {
            assert!((f64::from(*q) * f64::from(scale) - f64::from(*v)).abs() <= f64::from(scale) * 0.500_01);
        }
    }
    assert!(found.values[values.len()..].iter().all(|q| *q == 0));
}

#[test]
fn sums_are_exact_within_a_group_and_one_chain_across() {
    let (m, out) = if cfg!(miri) { (3, 17) } else { (7, 37) };
    // Of the last tile half is left in 1, 96, 200 and 1100; 100 has four inputs too many for that.
    for input in [1, 64, 96, 100, 200, 1100] {
        if cfg!(miri) && input > 100 {
            continue;
        }
        let (x, w) = (random(m * input, 1), random(out * input, 2));
        let packed = Panels::pack(Precision::Int8, out, input, &w);
        for compute in every_isa() {
            let isa = compute.isa();
            let converted = rows(isa, Precision::Int8, input, &x);
            let mut y = vec![0.0; m * out];
            let terms = [Term { x: converted.view(), w: &packed, first: 0 }];
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
            for (i, y) in y.chunks(out).enumerate() {
                let a = activations(&converted, i);
                assert_quantised(&a, &x[i * input..][..input]);
                for (j, y) in y.iter().enumerate() {
                    let b = weights(&packed, j);
                    assert_quantised(&b, &w[j * input..][..input]);
                    assert_eq!(y.to_bits(), chain(isa, &a, &b).to_bits(), "{} {input} ({i}, {j})", isa.name());
                }
            }
        }
    }
}

fn chain(isa: Isa, a: &Quantised, b: &Quantised) -> f32 {
    let groups = a.values.chunks(GROUP).zip(b.values.chunks(GROUP));
    let mut sum = 0.0_f32;
    for ((x, w), (xs, ws)) in groups.zip(a.scales.iter().zip(&b.scales)) {
        let exact: i32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
        let scale = ws * xs;
        // The portable set rounds twice.
        sum = if isa == Isa::PORTABLE { exact as f32 * scale + sum } else { (exact as f32).mul_add(scale, sum) };
    }
    sum
}

#[test]
fn all_instruction_sets_quantise_alike() {
    let values = random(3 * 150, 5);
    let first = rows(Isa::PORTABLE, Precision::Int8, 150, &values);
    for compute in every_isa() {
        let other = rows(compute.isa(), Precision::Int8, 150, &values);
        let (a, b) = (first.view(), other.view());
        let of = |x| (quantised(x), x.scales, x.offsets);
        assert_eq!(of(a), of(b), "{}", compute.isa().name());
    }
}

#[test]
fn numbers_too_small_to_divide_by_are_zero() {
    for compute in every_isa() {
        let x = rows(compute.isa(), Precision::Int8, 4, &[1e-38, -1e-39, 1e-45, 0.0, 1.0, 1e-38, 0.0, 0.0]);
        let w = Panels::pack(Precision::Int8, 2, 4, &[1e-38, 1.0, 1.0, 1.0, 1e-45, -1e-45, 0.0, 1e-38]);
        let mut y = vec![f32::NAN; 4];
        compute.multiply(&mut [Product { terms: &[Term { x: x.view(), w: &w, first: 0 }], y: &mut y, add: false }]);
        assert!(y.iter().all(|y| y.abs() < 1e-35), "{y:?}");
    }
}
