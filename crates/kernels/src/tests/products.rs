use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{bits, every_isa, random, rounded, rows};
use crate::{Converted, GROUP, Isa, Panels, Precision, Product, Rows, Term};

/// A sum and what rounding may add to it.
#[derive(Clone, Copy, Default)]
struct Bounded {
    sum: f64,
    error: f64,
}

/// `x · w`: the rounded values exactly; for int8 the values themselves and half a step of each for each product.
fn dot(precision: Precision, x: &[f32], w: &[f32]) -> Bounded {
    let mut total = Bounded { sum: 0.0, error: 1e-12 };
    let step = |group: &[f32]| group.iter().fold(0.0_f64, |m, v| m.max(f64::from(v.abs()))) / 127.0;
    for (x, w) in x.chunks(GROUP).zip(w.chunks(GROUP)) {
        let half_steps = (step(x) / 2.0 * 1.0001, step(w) / 2.0 * 1.0001);
        for (x, w) in x.iter().zip(w) {
            let (x, w) = (rounded(precision, *x), rounded(precision, *w));
            total.sum += x * w;
            total.error += (x * w).abs() * 2e-6;
            if precision == Precision::Int8 {
                total.error += x.abs() * half_steps.1 + w.abs() * half_steps.0 + half_steps.0 * half_steps.1;
            }
        }
    }
    total
}

/// `Σ x wᵀ` over pairs of (x, w), added to `start`.
fn oracle(precision: Precision, input: &[usize], pairs: &[(Vec<f32>, Vec<f32>)], start: &[f32]) -> Vec<Bounded> {
    let mut y: Vec<_> = start.iter().map(|v| Bounded { sum: f64::from(*v), error: 0.0 }).collect();
    for (input, (x, w)) in input.iter().zip(pairs) {
        let out = w.len() / input;
        for (y, x) in y.chunks_mut(out).zip(x.chunks(*input)) {
            for (y, w) in y.iter_mut().zip(w.chunks(*input)) {
                let dot = dot(precision, x, w);
                *y = Bounded { sum: y.sum + dot.sum, error: y.error + dot.error };
            }
        }
    }
    y
}

/// One product of `m` rows and `out` outputs with a term for each of `input`.
fn check(m: usize, out: usize, input: &[usize], add: bool) {
    let pairs: Vec<_> = input.iter().map(|k| (random(m * k, *k as u64), random(out * k, 1000 + *k as u64))).collect();
    let start = if add { random(m * out, 7) } else { vec![0.0; m * out] };
    for precision in Precision::ALL {
        let packed: Vec<_> = input.iter().zip(&pairs).map(|(k, (_, w))| Panels::pack(precision, out, *k, w)).collect();
        let wanted = oracle(precision, input, &pairs, &start);
        for compute in every_isa() {
            let isa = compute.isa();
            let x: Vec<_> = input.iter().zip(&pairs).map(|(k, (x, _))| rows(isa, precision, *k, x)).collect();
            let terms: Vec<_> = x.iter().zip(&packed).map(|(x, w)| Term { x: x.view(), w, first: 0 }).collect();
            let mut y = if add { start.clone() } else { vec![f32::NAN; m * out] };
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add }]);
            for (i, (got, wanted)) in y.iter().zip(&wanted).enumerate() {
                let error = (f64::from(*got) - wanted.sum).abs();
                let what = format!("{} {precision} ({m}, {input:?}) x ({out}, {input:?}) [{i}]", isa.name());
                assert!(error <= wanted.error, "{what}: {got} is not {}", wanted.sum);
            }
        }
    }
}

#[test]
fn any_number_of_rows() {
    let most = if cfg!(miri) { 5 } else { 20 };
    (1..=most).for_each(|m| check(m, 35, &[67], false));
}

#[test]
fn odd_shapes() {
    let (outs, inputs): (&[_], &[_]) =
        if cfg!(miri) { (&[1, 17], &[1, 65]) } else { (&[1, 15, 16, 97, 113], &[1, 2, 31, 33, 64, 65, 96, 129, 577]) };
    for out in outs {
        for input in inputs {
            for m in [1, 3, 9] {
                check(m, *out, &[*input], false);
            }
        }
    }
}

#[test]
fn terms_add_up_and_add_adds() {
    for m in [1, 2, 7] {
        check(m, 50, &[70, 6], false);
        check(m, 50, &[70, 6], true);
        check(m, 50, &[33], true);
    }
}

#[test]
fn many_rows_make_several_units() {
    if !cfg!(miri) {
        check(261, 19, &[40], true);
    }
}

/// Each instruction set keeps activations in its own way, and reads as far as that goes.
#[test]
fn activations_of_another_instruction_set_are_refused() {
    let w = Panels::pack(Precision::Int8, 16, 64, &random(16 * 64, 1));
    let others = every_isa().into_iter().filter(|compute| compute.isa() != Isa::PORTABLE);
    for compute in others {
        let mut x = rows(Isa::PORTABLE, Precision::Int8, 64, &random(64, 2));
        let mut y = vec![0.0; 16];
        let multiply = catch_unwind(AssertUnwindSafe(|| {
            let terms = [Term { x: x.view(), w: &w, first: 0 }];
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
        }));
        let write = catch_unwind(AssertUnwindSafe(|| compute.convert(&[0.0; 64], &mut x)));
        assert!(multiply.is_err() && write.is_err(), "{}", compute.isa().name());
    }
}

#[test]
fn a_term_without_inputs_is_zero() {
    for compute in every_isa() {
        for precision in Precision::ALL {
            let (mut x, w) = (Rows::new(compute.isa(), precision, 0), Panels::pack(precision, 5, 0, &[]));
            x.resize(2);
            let mut y = vec![1.0; 10];
            let terms = [Term { x: x.view(), w: &w, first: 0 }];
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
            assert_eq!(y, [0.0; 10]);
        }
    }
}

#[test]
fn more_products_than_fit_one_phase() {
    for compute in every_isa() {
        let sizes: Vec<usize> = (1..=19).collect();
        let x = rows(compute.isa(), Precision::F32, 2, &[1.0, 2.0, 3.0, 4.0]);
        let packed: Vec<_> = sizes.iter().map(|n| Panels::pack(Precision::F32, *n, 2, &vec![1.0; 2 * n])).collect();
        let mut y: Vec<_> = sizes.iter().map(|n| vec![0.0; 2 * n]).collect();
        let terms: Vec<_> = packed.iter().map(|w| [Term { x: x.view(), w, first: 0 }]).collect();
        let mut products: Vec<_> =
            terms.iter().zip(&mut y).map(|(terms, y)| Product { terms, y, add: false }).collect();
        compute.multiply(&mut products);
        for (y, n) in y.iter().zip(sizes) {
            assert_eq!(y, &[vec![3.0; n], vec![7.0; n]].concat());
        }
    }
}

#[test]
fn a_later_term_may_have_some_of_the_rows() {
    terms_of_some_rows(9, &[(0, 9, 40), (3, 2, 8), (8, 1, 70), (0, 5, 3)]);
    if !cfg!(miri) {
        // Within and across the blocks of rows that a kernel takes together.
        terms_of_some_rows(40, &[(0, 40, 40), (13, 5, 8), (20, 17, 70), (39, 1, 3), (0, 33, 65)]);
    }
}

/// One product of `m` rows; first row, rows and inputs of each of its terms.
fn terms_of_some_rows(m: usize, parts: &[(usize, usize, usize)]) {
    let out = 37;
    let pairs: Vec<_> = parts.iter().map(|(_, m, k)| (random(m * k, 1), random(out * k, 2))).collect();
    for precision in Precision::ALL {
        let mut wanted = vec![Bounded::default(); m * out];
        for ((first, _, k), (x, w)) in parts.iter().zip(&pairs) {
            let one = oracle(precision, &[*k], &[(x.clone(), w.clone())], &vec![0.0; x.len() / k * out]);
            for (y, more) in wanted[first * out..].iter_mut().zip(one) {
                *y = Bounded { sum: y.sum + more.sum, error: y.error + more.error };
            }
        }
        let packed: Vec<_> =
            parts.iter().zip(&pairs).map(|((_, _, k), (_, w))| Panels::pack(precision, out, *k, w)).collect();
        for compute in every_isa() {
            let x: Vec<_> =
                parts.iter().zip(&pairs).map(|((_, _, k), (x, _))| rows(compute.isa(), precision, *k, x)).collect();
            let terms = parts.iter().zip(x.iter().zip(&packed));
            let terms: Vec<_> = terms.map(|((first, ..), (x, w))| Term { x: x.view(), w, first: *first }).collect();
            let mut y = vec![f32::NAN; m * out];
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
            for (i, (got, wanted)) in y.iter().zip(&wanted).enumerate() {
                let what = format!("{} {precision} ({}, {})", compute.isa().name(), i / out, i % out);
                assert!((f64::from(*got) - wanted.sum).abs() <= wanted.error, "{what}: {got} is not {}", wanted.sum);
            }
        }
    }
}

/// Several products whose rows are changed and converted, against the same in three steps.
#[test]
fn rows_are_changed_and_converted_once_all_of_them_are_there() {
    let (input, outs) = (70, [40, 96, 200]);
    let heights: &[usize] = if cfg!(miri) { &[3] } else { &[1, 3, 33, 600] };
    for (precision, m) in Precision::ALL.iter().flat_map(|p| heights.iter().map(move |m| (*p, *m))) {
        let x = random(m * input, 1);
        let weights = outs.map(|out| Panels::pack(precision, out, input, &random(out * input, out as u64)));
        let change = |row: usize, y: &mut [f32]| y.iter_mut().for_each(|y| *y *= row as f32 - 1.5);
        for compute in every_isa() {
            let x = rows(compute.isa(), precision, input, &x);
            let terms = weights.each_ref().map(|w| [Term { x: x.view(), w, first: 0 }]);
            let mut wanted = outs.map(|out| vec![f32::NAN; m * out]);
            let products = terms.iter().zip(&mut wanted).map(|(terms, y)| Product { terms, y, add: false });
            compute.multiply(&mut products.collect::<Vec<_>>());
            for (out, y) in outs.iter().zip(&mut wanted) {
                y.chunks_mut(*out).enumerate().for_each(|(row, y)| change(row, y));
            }
            let mut got = outs.map(|out| vec![f32::NAN; m * out]);
            let mut converted = outs.map(|out| Rows::new(compute.isa(), precision, out));
            converted.iter_mut().for_each(|to| to.resize(m));
            let all = terms.iter().zip(&mut got).zip(&mut converted);
            let all = all.map(|((terms, y), to)| {
                let product = Product { terms, y, add: false };
                Converted { product, to, change: &change }
            });
            compute.multiply_converted(&mut all.collect::<Vec<_>>());
            for (i, out) in outs.into_iter().enumerate() {
                let what = format!("{} {precision} {m} x {out}", compute.isa().name());
                assert_eq!(bits(&got[i]), bits(&wanted[i]), "{what}");
                let (got, wanted) = (converted[i].view(), rows(compute.isa(), precision, out, &wanted[i]));
                let wanted = wanted.view();
                assert_eq!((got.words, got.offsets), (wanted.words, wanted.offsets), "{what}");
                assert_eq!(bits(got.scales), bits(wanted.scales), "{what}");
            }
        }
    }
}
