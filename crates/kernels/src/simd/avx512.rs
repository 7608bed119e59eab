//! AVX-512 with VNNI; `BF16` says whether the CPU multiplies bf16 too.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{LANES, Simd, four_in_a_word, two_in_a_word};
use crate::line::Line;

/// AVX-512 F, BW, DQ, VL and VNNI; with `BF16`, AVX-512 BF16 too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

impl<const BF16: bool> Avx512<BF16> {
    /// # Safety
    /// The CPU has what this type stands for.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// The blocks below use intrinsics of the instruction set that the token stands for.
macro_rules! intrinsic {
    ($body:expr) => {
        // SAFETY: a token exists, so the CPU has these instructions (`Avx512::new`); references keep memory valid.
        unsafe { $body }
    };
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F32 = __m512;
    type Pair = [u32; 1];
    type Quad = [u32; 1];
    type I32 = __m512i;
    const WIDE: bool = true;

    #[inline(always)]
    fn fetch(self, line: *const Line) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T1>(line.cast()));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        intrinsic!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        intrinsic!(_mm512_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        intrinsic!(_mm512_storeu_ps(to.as_mut_ptr(), x));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512i {
        intrinsic!(_mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        intrinsic!(_mm512_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn pow2(self, e: __m512i) -> __m512 {
        intrinsic!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(e, _mm512_set1_epi32(127)))))
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        intrinsic!(_mm512_set1_epi32(x))
    }

    #[inline(always)]
    fn load_i32(self, x: &[i32; LANES]) -> __m512i {
        intrinsic!(_mm512_loadu_si512(x.as_ptr().cast()))
    }

    #[inline(always)]
    fn sum_i32(self, x: __m512i) -> i32 {
        intrinsic!(_mm512_reduce_add_epi32(x))
    }

    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn bytes(self, x: __m512i) -> [u8; LANES] {
        // SAFETY: both are 16 bytes without invalid values; the token as above.
        unsafe { std::mem::transmute(_mm512_cvtepi32_epi8(x)) }
    }

    #[inline(always)]
    fn quads(self, x: __m512i) -> [Self::Quad; LANES / 4] {
        four_in_a_word(self.bytes(x))
    }

    #[inline(always)]
    fn to_bf16(self, x: __m512) -> [u16; LANES] {
        // The instruction for this flushes denormals; a few operations keep the promise of the trait.
        intrinsic!({
            let bits = _mm512_castps_si512(x);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            let chosen = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
            std::mem::transmute::<__m256i, [u16; LANES]>(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(chosen)))
        })
    }

    #[inline(always)]
    fn pairs(self, x: __m512) -> [Self::Pair; LANES / 2] {
        two_in_a_word(self.to_bf16(x))
    }

    #[inline(always)]
    fn dot_bf16(self, acc: __m512, w: &Line, [x]: &Self::Pair) -> __m512 {
        intrinsic!({
            let (w, x) = (_mm512_load_si512(w.as_bytes().as_ptr().cast()), _mm512_set1_epi32(*x as i32));
            if BF16 {
                let pairs = |v| std::mem::transmute::<__m512i, __m512bh>(v);
                return _mm512_dpbf16_ps(acc, pairs(w), pairs(x));
            }
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            let first = |v| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(v));
            let second = |v| _mm512_castsi512_ps(_mm512_and_si512(v, high));
            let acc = _mm512_fmadd_ps(first(w), first(x), acc);
            _mm512_fmadd_ps(second(w), second(x), acc)
        })
    }

    #[inline(always)]
    fn dot_u8(self, acc: __m512i, w: &Line, [x]: &Self::Quad) -> __m512i {
        intrinsic!({
            let w = _mm512_load_si512(w.as_bytes().as_ptr().cast());
            _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(*x as i32))
        })
    }

    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        intrinsic!(_mm512_reduce_add_ps(x))
    }

    #[inline(always)]
    fn largest(self, x: __m512) -> f32 {
        intrinsic!(_mm512_reduce_max_ps(x))
    }

    #[inline(always)]
    fn largest_magnitude(self, x: [__m512; 4]) -> f32 {
        intrinsic!({
            let [a, b, c, d] = x.map(|x| _mm512_castps_si512(_mm512_abs_ps(x)));
            let largest = _mm512_max_epi32(_mm512_max_epi32(a, b), _mm512_max_epi32(c, d));
            f32::from_bits(_mm512_reduce_max_epi32(largest) as u32)
        })
    }
}
