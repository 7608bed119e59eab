use super::{every_isa, halves, quantised, random, rounded, rows};
use crate::math::{exp, silu_mul};
use crate::simd::{LANES, Op, Simd};
use crate::{Isa, Panels, Precision, Rows, Term};

/// The values of a row as a product sees them.
fn values(x: &Rows, row: usize) -> Vec<f64> {
    let view = x.range(row..row + 1);
    let words = view.words.iter();
    let mut values: Vec<f64> = match x.precision() {
        Precision::F32 => words.map(|w| f64::from(f32::from_bits(*w))).collect(),
        Precision::Bf16 => halves(view).into_iter().map(f64::from).collect(),
        Precision::Int8 => quantised(view).into_iter().map(f64::from).collect(),
    };
    for (group, scale) in values.chunks_mut(64).zip(view.scales) {
        group.iter_mut().for_each(|v| *v *= f64::from(*scale));
    }
    assert!(values[x.input()..].iter().all(|v| *v == 0.0), "zeros beyond the end");
    values.truncate(x.input());
    values
}

/// Each value within what its format rounds away, and `slack` of it.
fn assert_near(got: &[f64], wanted: &[f64], precision: Precision, slack: f64, what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (got, wanted) in got.chunks(64).zip(wanted.chunks(64)) {
        let largest = wanted.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (got, wanted) in got.iter().zip(wanted) {
            let step = match precision {
                Precision::F32 => 0.0,
                Precision::Bf16 => wanted.abs() / 256.0,
                Precision::Int8 => largest / 254.0,
            };
            assert!((got - wanted).abs() <= step * 1.01 + slack, "{what}: {got} is not {wanted}");
        }
    }
}

#[test]
fn conversion_rounds_to_nearest() {
    for input in [1, 15, 64, 65, 300] {
        let x = random(3 * input, 1);
        for precision in Precision::ALL {
            for compute in every_isa() {
                let mut y = Rows::new(compute.isa(), precision, input);
                y.resize(3);
                compute.convert(&x, &mut y);
                for (i, x) in x.chunks(input).enumerate() {
                    let wanted: Vec<f64> = x.iter().map(|x| rounded(precision, *x)).collect();
                    let slack = if precision == Precision::Int8 { 1e-6 } else { 0.0 };
                    let got = values(&y, i);
                    if precision == Precision::Int8 {
                        assert_near(&got, &wanted, precision, slack, compute.isa().name());
                    } else {
                        assert_eq!(got, wanted, "{} {precision} {input}", compute.isa().name());
                    }
                }
            }
        }
    }
}

#[test]
fn bf16_keeps_what_it_has() {
    let x: Vec<f32> = (0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16)).collect();
    let hard = [f32::from_bits(0x3f80_8000), f32::from_bits(0x3f81_8000), f32::MAX, 1e-45, -1e-40, 0.0, -0.0];
    let x: Vec<f32> = x.into_iter().filter(|x| !x.is_nan()).chain(hard).collect();
    for compute in every_isa() {
        let y = rows(compute.isa(), Precision::Bf16, x.len(), &x);
        for (got, x) in halves(y.view()).iter().zip(&x) {
            let wanted = half::bf16::from_f32(*x).to_f32();
            assert_eq!(got.to_bits(), wanted.to_bits(), "{} {x:e}", compute.isa().name());
        }
    }
}

#[test]
fn norms() {
    let range = 1..4;
    for input in [1, 16, 100, 257, 576] {
        let (x, weight) = (random(5 * input, 2), random(input, 3));
        for precision in Precision::ALL {
            for compute in every_isa() {
                let mut y = Rows::new(compute.isa(), precision, input);
                y.resize(5);
                compute.rms_norm(&x, range.clone(), &weight, 1e-5, &mut y);
                for row in range.clone() {
                    let x: Vec<f64> = x[row * input..][..input].iter().map(|x| f64::from(*x)).collect();
                    let rms = (x.iter().map(|x| x * x).sum::<f64>() / input as f64 + 1e-5).sqrt();
                    let wanted: Vec<f64> = x.iter().zip(&weight).map(|(x, w)| x / rms * f64::from(*w)).collect();
                    let what = format!("{} {precision} {input}", compute.isa().name());
                    assert_near(&values(&y, row), &wanted, precision, 2e-6, &what);
                }
            }
        }
    }
}

#[test]
fn gated_feed() {
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let shapes: &[_] =
        if cfg!(miri) { &[(2, 20, 17)] } else { &[(1, 17, 33), (3, 64, 64), (5, 70, 129), (70, 48, 40)] };
    for &(m, input, out) in shapes {
        let x = random(m * input, 1);
        let (gate, up) = (random(out * input, 2), random(out * input, 3));
        let dot = |row: usize, w: &[f32], j: usize, p| -> f64 {
            let pairs = x[row * input..][..input].iter().zip(&w[j * input..][..input]);
            pairs.map(|(x, w)| rounded(p, *x) * rounded(p, *w)).sum()
        };
        for precision in Precision::ALL {
            let packed = [&gate, &up].map(|w| Panels::pack(precision, out, input, w));
            for compute in every_isa() {
                let x = rows(compute.isa(), precision, input, &x);
                let [gates, ups] = [0, 1].map(|i| [Term { x: x.view(), w: &packed[i], first: 0 }]);
                let mut y = Rows::new(compute.isa(), precision, out);
                y.resize(m + 2);
                compute.gated_feed(&gates, &ups, 2, &mut y);
                for row in 0..m {
                    let one = |j| silu(dot(row, &gate, j, precision)) * dot(row, &up, j, precision);
                    let wanted: Vec<f64> = (0..out).map(one).collect();
                    let what = format!("{} {precision} ({m}, {input}, {out})", compute.isa().name());
                    // Eight bits of weights and activations: about 1 % of a sum of 70 products of two factors.
                    let slack = if precision == Precision::Int8 { 0.5 } else { 1e-4 };
                    assert_near(&values(&y, row + 2), &wanted, precision, slack, &what);
                }
            }
        }
    }
}

struct Exp<'a>(&'a mut [f32]);

impl Op for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for x in self.0.as_chunks_mut::<LANES>().0 {
            s.store(exp(s, s.load(x)), x);
        }
    }
}

#[test]
fn exp_is_near() {
    let steps = if cfg!(miri) { 64 } else { 1 << 16 };
    let x: Vec<f32> = (0..steps).map(|i| -87.0 + 175.0 * i as f32 / steps as f32).collect();
    for compute in every_isa() {
        let mut y = x.clone();
        compute.isa().run(Exp(&mut y));
        for (x, y) in x.iter().zip(&y) {
            let wanted = f64::from(*x).exp();
            assert!((f64::from(*y) - wanted).abs() <= 2e-7 * wanted, "{}: exp({x}) = {y}", compute.isa().name());
        }
        let mut ends = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1e30, 1e30, 88.0];
        let mut padded = [0.0; LANES];
        padded[..8].copy_from_slice(&ends);
        compute.isa().run(Exp(&mut padded));
        ends.copy_from_slice(&padded[..8]);
        assert_eq!(ends[..2], [1.0, 1.0]);
        assert!(ends[4].is_nan() && ends[2].is_finite() && ends[2] > 1e38 && ends[3] < 1e-37, "{ends:?}");
        assert!(ends[5] < 1e-37 && ends[6] > 1e38);
    }
}

struct Silu<'a>(&'a mut [f32; LANES]);

impl Op for Silu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        s.store(silu_mul(s, s.load(self.0), s.splat(1.0)), self.0);
    }
}

#[test]
fn silu_at_its_ends() {
    for isa in Isa::available() {
        let mut x = [0.0; LANES];
        x[..5].copy_from_slice(&[-200.0, 200.0, 1.0, f32::NAN, f32::NEG_INFINITY]);
        if !cfg!(miri) || isa == Isa::PORTABLE {
            isa.run(Silu(&mut x));
            assert!(x[0].abs() < 1e-35 && x[1] == 200.0 && (x[2] - 0.731_058_6).abs() < 1e-6, "{x:?}");
            assert!(x[3].is_nan() && !x[4].is_finite());
        }
    }
}
