//! `exp` and what is made of it, sixteen lanes at once.

use crate::simd::Simd;

/// `e^x`, relative error below 2e-7; from -87 to 88, beyond which it stays at the ends. NaN gives NaN.
///
/// `x = n ln 2 + r`, `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7 (Cody and Waite's splitting of ln 2).
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // The operand that may be NaN comes second: then it is what min and max give.
    let x = s.max(s.splat(-87.0), s.min(s.splat(88.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let count = s.to_f32(n);
    let r = s.mul_add(count, s.splat(-0.693_359_4), x);
    let r = s.mul_add(count, s.splat(2.121_944_4e-4), r);
    let mut sum = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = s.mul_add(sum, r, s.splat(c));
    }
    s.mul(sum, s.pow2(n))
}

/// `e^x` for `x` from -87 to 0, below which it stays at the end; relative error below 5e-5: for what is rounded to bf16,
/// whose steps are eighty times as large. NaN gives NaN.
///
/// As [`exp`], with the Taylor polynomial of degree 4.
#[inline(always)]
pub(crate) fn exp_coarse<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let x = s.max(s.splat(-87.0), x);
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(s.to_f32(n), s.splat(-std::f32::consts::LN_2), x);
    let mut sum = s.splat(1.0 / 24.0);
    for c in [1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = s.mul_add(sum, r, s.splat(c));
    }
    s.mul(sum, s.pow2(n))
}

/// `silu(gate) · up`, `silu(x) = x / (1 + e⁻ˣ)`
#[inline(always)]
pub(crate) fn silu_mul<S: Simd>(s: S, gate: S::F32, up: S::F32) -> S::F32 {
    let minus = s.sub(s.splat(0.0), gate);
    let silu = s.div(gate, s.add(s.splat(1.0), exp(s, minus)));
    s.mul(silu, up)
}
