//! AVX2 and FMA: two vectors of eight lanes.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{LANES, Simd};
use crate::line::Line;

/// AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has AVX2 and FMA.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

type F = [__m256; 2];
type I = [__m256i; 2];

/// The blocks below use intrinsics of the instruction set that the token stands for.
macro_rules! intrinsic {
    ($body:expr) => {
        // SAFETY: a token exists, so the CPU has these instructions (`Avx2::new`); references keep memory valid.
        unsafe { $body }
    };
}

#[inline(always)]
fn halves(line: &Line) -> [*const __m256i; 2] {
    let start: *const __m256i = line.as_bytes().as_ptr().cast();
    [start, start.wrapping_add(1)]
}

/// The upper half of a word.
const HIGH: i32 = 0xffff_0000_u32 as i32;

impl Avx2 {
    /// The bits of each lane, rounded to bf16 in their upper halves.
    #[inline(always)]
    fn rounded_to_bf16(self, x: __m256) -> __m256i {
        intrinsic!({
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x40_0000)));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
            _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, nan))
        })
    }
}

impl Simd for Avx2 {
    type F32 = F;
    type I32 = I;
    /// As f32: there is no multiplication of bf16.
    type Pair = [u32; 2];
    /// Sixteen bits each: the even ones, then the odd ones.
    type Quad = [u32; 2];
    const WIDE: bool = false;

    #[inline(always)]
    fn fetch(self, line: *const Line) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T1>(line.cast()));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        intrinsic!([_mm256_set1_ps(x); 2])
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> F {
        let (x, _) = x.as_chunks::<8>();
        intrinsic!([_mm256_loadu_ps(x[0].as_ptr()), _mm256_loadu_ps(x[1].as_ptr())])
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        let (to, _) = to.as_chunks_mut::<8>();
        intrinsic!({
            _mm256_storeu_ps(to[0].as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to[1].as_mut_ptr(), x[1]);
        });
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        intrinsic!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        intrinsic!([_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        intrinsic!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        intrinsic!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        intrinsic!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        intrinsic!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        intrinsic!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }

    #[inline(always)]
    fn round(self, a: F) -> I {
        // The control word is never changed here: conversions round to nearest, halves to even.
        intrinsic!([_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1])])
    }

    #[inline(always)]
    fn to_f32(self, a: I) -> F {
        intrinsic!([_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])])
    }

    #[inline(always)]
    fn pow2(self, e: I) -> F {
        intrinsic!({
            let bias = _mm256_set1_epi32(127);
            let half = |e| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(e, bias)));
            [half(e[0]), half(e[1])]
        })
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> I {
        intrinsic!([_mm256_set1_epi32(x); 2])
    }

    #[inline(always)]
    fn load_i32(self, x: &[i32; LANES]) -> I {
        let (x, _) = x.as_chunks::<8>();
        intrinsic!([_mm256_loadu_si256(x[0].as_ptr().cast()), _mm256_loadu_si256(x[1].as_ptr().cast())])
    }

    #[inline(always)]
    fn sum_i32(self, x: I) -> i32 {
        intrinsic!({
            let eight = _mm256_add_epi32(x[0], x[1]);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b11_10_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01_01_01_01>(two)))
        })
    }

    #[inline(always)]
    fn add_i32(self, a: I, b: I) -> I {
        intrinsic!([_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])])
    }

    #[inline(always)]
    fn bytes(self, x: I) -> [u8; LANES] {
        intrinsic!({
            // The lowest bytes of four lanes go to the first of them; the other three become zero.
            let low = 0x0c_08_04_00;
            let pick = _mm256_setr_epi32(low, -1, -1, -1, low, -1, -1, -1);
            let (first, second) = (_mm256_shuffle_epi8(x[0], pick), _mm256_shuffle_epi8(x[1], pick));
            let words = _mm256_unpacklo_epi32(first, second);
            let words = _mm_unpacklo_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            std::mem::transmute::<__m128i, [u8; LANES]>(_mm_shuffle_epi32::<0b11_01_10_00>(words))
        })
    }

    #[inline(always)]
    fn quads(self, x: I) -> [Self::Quad; LANES / 4] {
        intrinsic!({
            // Of four lanes the last two move into the upper halves of the first two.
            let half = |x| {
                let upper = _mm256_slli_epi32::<16>(_mm256_shuffle_epi32::<0b11_10_11_10>(x));
                _mm256_blend_epi16::<0b1010_1010>(x, upper)
            };
            let both = _mm256_unpacklo_epi64(half(x[0]), half(x[1]));
            std::mem::transmute::<__m256i, [[u32; 2]; 4]>(_mm256_permute4x64_epi64::<0b11_01_10_00>(both))
        })
    }

    #[inline(always)]
    fn to_bf16(self, x: F) -> [u16; LANES] {
        intrinsic!({
            let low = _mm256_srli_epi32::<16>(self.rounded_to_bf16(x[0]));
            let high = _mm256_srli_epi32::<16>(self.rounded_to_bf16(x[1]));
            // Packing works within halves of 128 bits; the permutation puts the lanes in order.
            let packed = _mm256_packus_epi32(low, high);
            std::mem::transmute::<__m256i, [u16; LANES]>(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed))
        })
    }

    #[inline(always)]
    fn pairs(self, x: F) -> [Self::Pair; LANES / 2] {
        intrinsic!({
            let high = _mm256_set1_epi32(HIGH);
            // Not by `map`: what it calls is not compiled for this instruction set.
            let first = _mm256_and_si256(self.rounded_to_bf16(x[0]), high);
            let second = _mm256_and_si256(self.rounded_to_bf16(x[1]), high);
            std::mem::transmute::<I, [Self::Pair; LANES / 2]>([first, second])
        })
    }

    #[inline(always)]
    fn largest_magnitude(self, x: [F; 4]) -> f32 {
        intrinsic!({
            // Magnitudes are ordered as their bits are.
            let magnitude = _mm256_set1_epi32(i32::MAX);
            let mut largest = _mm256_setzero_si256();
            for x in x.as_flattened() {
                let x = _mm256_and_si256(_mm256_castps_si256(*x), magnitude);
                largest = _mm256_max_epi32(largest, x);
            }
            let four = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256::<1>(largest));
            let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b11_10_11_10>(four));
            let one = _mm_max_epi32(two, _mm_shuffle_epi32::<0b01_01_01_01>(two));
            f32::from_bits(_mm_cvtsi128_si32(one) as u32)
        })
    }

    #[inline(always)]
    fn dot_bf16(self, acc: F, w: &Line, [first, second]: &Self::Pair) -> F {
        intrinsic!({
            let high = _mm256_set1_epi32(HIGH);
            let first = _mm256_set1_ps(f32::from_bits(*first));
            let second = _mm256_set1_ps(f32::from_bits(*second));
            let half = |acc, w| {
                let w = _mm256_load_si256(w);
                let acc = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(w)), first, acc);
                _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(w, high)), second, acc)
            };
            let [low, upper] = halves(w);
            [half(acc[0], low), half(acc[1], upper)]
        })
    }

    #[inline(always)]
    fn dot_u8(self, acc: I, w: &Line, [even_x, odd_x]: &Self::Quad) -> I {
        // `maddubs` would saturate: 2 * 255 * 127 does not fit 16 bits. So the bytes are split into even and odd ones, each
        // sixteen bits wide, and `madd` adds two exact products. Activations are kept split: each meets many lines.
        intrinsic!({
            let (even_x, odd_x) = (_mm256_set1_epi32(*even_x as i32), _mm256_set1_epi32(*odd_x as i32));
            let low = _mm256_set1_epi16(0xff);
            let half = |acc, w| {
                let w = _mm256_load_si256(w);
                let even = _mm256_madd_epi16(_mm256_and_si256(w, low), even_x);
                let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), odd_x);
                _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
            };
            let [first, second] = halves(w);
            [half(acc[0], first), half(acc[1], second)]
        })
    }
}
