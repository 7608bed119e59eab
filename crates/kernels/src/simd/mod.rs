//! Sixteen lanes at once: what an instruction set must offer, and how code is compiled for it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

use crate::line::Line;
use crate::precision::Precision;

/// Lanes of every vector: one panel is as wide.
pub(crate) const LANES: usize = 16;

/// An instruction set, as a token: whoever holds one may use it.
///
/// Each lane of a result depends on the same lane of the operands alone. Between instruction sets the last bit may differ
/// where one rounds a multiplication and an addition once and another twice; integers agree exactly.
pub(crate) trait Simd: Copy {
    /// Sixteen f32.
    type F32: Copy;
    /// Sixteen i32.
    type I32: Copy;
    /// Two bf16 activations as [`Self::dot_bf16`] takes them, in one or more words of a row.
    type Pair: Copy + Default + AsRef<[u32]>;
    /// Four int8 activations as [`Self::dot_u8`] takes them, in one or more words of a row.
    type Quad: Copy + Default + AsRef<[u32]>;

    /// Whether 32 vectors of sixteen lanes fit the registers; otherwise about six do.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::F32;
    fn load(self, x: &[f32; LANES]) -> Self::F32;
    fn store(self, x: Self::F32, to: &mut [f32; LANES]);
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// To the nearest integer, halves to even. Defined for magnitudes below 2³¹.
    fn round(self, a: Self::F32) -> Self::I32;
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `2^e` for `-126 <= e <= 127`.
    fn pow2(self, e: Self::I32) -> Self::F32;
    fn splat_i32(self, x: i32) -> Self::I32;
    fn load_i32(self, x: &[i32; LANES]) -> Self::I32;
    /// All lanes, wrapping.
    fn sum_i32(self, x: Self::I32) -> i32;
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The low byte of each lane.
    fn bytes(self, x: Self::I32) -> [u8; LANES];
    /// Sixteen activations, each of which fits a byte, as quads.
    fn quads(self, x: Self::I32) -> [Self::Quad; LANES / 4];
    /// Rounded to bf16, halves to even. NaN stays NaN.
    fn to_bf16(self, x: Self::F32) -> [u16; LANES];
    /// Sixteen activations, rounded as [`Self::to_bf16`] does.
    fn pairs(self, x: Self::F32) -> [Self::Pair; LANES / 2];
    /// `acc + w · x`, one product for each lane: `w` is a line of f32, `x` the bits of one.
    fn dot_f32(self, acc: Self::F32, w: &Line, x: &u32) -> Self::F32 {
        self.mul_add(self.load(w.as_f32()), self.splat(f32::from_bits(*x)), acc)
    }
    /// `acc + Σ w · x` over the two bf16 of each lane.
    fn dot_bf16(self, acc: Self::F32, w: &Line, x: &Self::Pair) -> Self::F32;
    /// `acc + Σ w · x` over the four bytes of each lane, exact: unsigned weights, signed activations.
    fn dot_u8(self, acc: Self::I32, w: &Line, x: &Self::Quad) -> Self::I32;

    /// Asks for a line to be brought to the second-level cache. Any address is good: nothing is read.
    #[inline(always)]
    fn fetch(self, _line: *const Line) {}

    /// All lanes, always in the same order.
    #[inline(always)]
    fn sum(self, x: Self::F32) -> f32 {
        let mut v = [0.0; LANES];
        self.store(x, &mut v);
        fold(v, |a, b| a + b)
    }

    /// The largest lane; lanes that are NaN may be passed over.
    #[inline(always)]
    fn largest(self, x: Self::F32) -> f32 {
        let mut v = [0.0; LANES];
        self.store(x, &mut v);
        fold(v, f32::max)
    }

    /// The largest magnitude of all lanes; NaN counts as the largest.
    #[inline(always)]
    fn largest_magnitude(self, x: [Self::F32; 4]) -> f32 {
        let mut bits = [0; LANES];
        for x in x {
            let mut v = [0.0; LANES];
            self.store(x, &mut v);
            // Magnitudes are ordered as their bits are.
            bits = std::array::from_fn(|i| bits[i].max(v[i].to_bits() & 0x7fff_ffff));
        }
        f32::from_bits(fold(bits, u32::max))
    }
}

#[inline(always)]
fn fold<T: Copy>(mut v: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            v[i] = f(v[i], v[i + width]);
        }
        width /= 2;
    }
    v[0]
}

/// Words of a row that meet one line of weights of this precision.
pub(crate) struct LineWords(pub(crate) Precision);

impl Op for LineWords {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        line_words::<S>(self.0)
    }
}

/// As [`LineWords`].
#[inline(always)]
pub(crate) fn line_words<S: Simd>(precision: Precision) -> usize {
    let bytes = match precision {
        Precision::F32 => size_of::<f32>(),
        Precision::Bf16 => size_of::<S::Pair>(),
        Precision::Int8 => size_of::<S::Quad>(),
    };
    bytes / size_of::<u32>()
}

/// Bytes in words, the first of four in the lowest.
#[inline(always)]
fn four_in_a_word(bytes: [u8; LANES]) -> [[u32; 1]; LANES / 4] {
    let (quads, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| [u32::from_le_bytes(quads[i])])
}

/// bf16 in words, the first of two in the low half.
#[inline(always)]
fn two_in_a_word(bits: [u16; LANES]) -> [[u32; 1]; LANES / 2] {
    let (pairs, _) = bits.as_chunks::<2>();
    std::array::from_fn(|i| [u32::from(pairs[i][0]) | u32::from(pairs[i][1]) << 16])
}

/// Work written once for all instruction sets. `run` must be `#[inline(always)]`, down to the last function in it.
pub(crate) trait Op {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
