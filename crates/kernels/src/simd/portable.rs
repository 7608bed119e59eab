//! Plain Rust: runs everywhere, under Miri too, and is what the other instruction sets are tested against.
#![allow(clippy::needless_range_loop)]

use super::{LANES, Simd, four_in_a_word, two_in_a_word};
use crate::line::Line;

/// Runs everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn each<A: Copy, B>(a: [A; LANES], f: impl Fn(A) -> B) -> [B; LANES] {
    a.map(f)
}

#[inline(always)]
fn both(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type F32 = [f32; LANES];
    type I32 = [i32; LANES];
    type Pair = [u32; 1];
    type Quad = [u32; 1];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F32 {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F32 {
        *x
    }

    #[inline(always)]
    fn store(self, x: Self::F32, to: &mut [f32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        both(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        both(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        both(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        both(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // The second operand where one is NaN, as x86 does.
        both(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        both(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn round(self, a: Self::F32) -> Self::I32 {
        each(a, |a| a.round_ties_even() as i32)
    }

    #[inline(always)]
    fn to_f32(self, a: Self::I32) -> Self::F32 {
        each(a, |a| a as f32)
    }

    #[inline(always)]
    fn pow2(self, e: Self::I32) -> Self::F32 {
        each(e, |e| f32::from_bits(((e + 127) as u32) << 23))
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I32 {
        [x; LANES]
    }

    #[inline(always)]
    fn load_i32(self, x: &[i32; LANES]) -> Self::I32 {
        *x
    }

    #[inline(always)]
    fn sum_i32(self, x: Self::I32) -> i32 {
        x.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(always)]
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn bytes(self, x: Self::I32) -> [u8; LANES] {
        each(x, |x| x as u8)
    }

    #[inline(always)]
    fn quads(self, x: Self::I32) -> [Self::Quad; LANES / 4] {
        four_in_a_word(self.bytes(x))
    }

    #[inline(always)]
    fn to_bf16(self, x: Self::F32) -> [u16; LANES] {
        each(x, |x| {
            let bits = x.to_bits();
            if x.is_nan() {
                return (bits >> 16) as u16 | 0x40;
            }
            (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
        })
    }

    #[inline(always)]
    fn pairs(self, x: Self::F32) -> [Self::Pair; LANES / 2] {
        two_in_a_word(self.to_bf16(x))
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F32, w: &Line, [x]: &Self::Pair) -> Self::F32 {
        let (first, second) = (f32::from_bits(x << 16), f32::from_bits(x & 0xffff_0000));
        let w = w.as_u32();
        std::array::from_fn(|i| {
            let (a, b) = (f32::from_bits(w[i] << 16), f32::from_bits(w[i] & 0xffff_0000));
            acc[i] + a * first + b * second
        })
    }

    #[inline(always)]
    fn dot_u8(self, acc: Self::I32, w: &Line, [x]: &Self::Quad) -> Self::I32 {
        let x = x.to_le_bytes().map(|b| i32::from(b as i8));
        let (w, _) = w.as_bytes().as_chunks::<4>();
        std::array::from_fn(|i| {
            let mut sum = acc[i];
            for j in 0..4 {
                sum += i32::from(w[i][j]) * x[j];
            }
            sum
        })
    }
}
