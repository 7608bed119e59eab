//! Compute kernels: dense products, attention and the element-wise steps between them, in f32.
//!
//! Every kernel has one source, [`generic`], compiled once per instruction set and chosen at run time by [`Isa`].
//!
//! Invariant: each output element is reduced by one thread in one order that depends on nothing but the length of the
//! sum. Batch size, chunking, thread count and neighbours in the batch never change a bit of a row's result.
#![allow(unsafe_code)]

mod generic;
mod strip;

use rayon::prelude::*;

use strip::Strips;

/// Outputs computed by one task: a multiple of the tile width, small enough to spread narrow layers over threads.
const BLOCK: usize = 96;
/// Multiply-adds below which handing work to another thread costs more than it saves.
const WORTH_SPLITTING: usize = 100_000;

/// An instruction set this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// Runs everywhere.
    pub(crate) const PORTABLE: Self = Self(Kind::Portable);

    /// The widest set that this CPU has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self(Kind::Avx2);
        }
        Self::PORTABLE
    }

    /// `avx2` or `portable`
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
        }
    }

    /// `y (m, n) = x (m, k) · w (n, k)ᵀ`, or `y += ` that product when `add` is set. All row-major f32.
    ///
    /// # Panics
    /// When a slice is shorter than its shape.
    pub(crate) fn linear(self, x: &[f32], w: &[f32], k: usize, y: &mut [f32], add: bool) {
        if w.is_empty() || x.is_empty() {
            return;
        }
        let (m, n) = (x.len() / k, w.len() / k);
        assert!(x.len() == m * k && w.len() == n * k && y.len() == m * n, "({m}, {k}) x ({n}, {k})");
        let strips = Strips::new(y, n);
        let blocks = n.div_ceil(BLOCK);
        let block = |i: usize| {
            let columns = i * BLOCK..((i + 1) * BLOCK).min(n);
            // SAFETY: the blocks of one call are disjoint ranges of columns within `n`, each taken by one task.
            let mut out = unsafe { strips.columns(columns.clone()) };
            let w = &w[columns.start * k..columns.end * k];
            match self.0 {
                Kind::Portable => generic::linear::<false>(x, w, k, &mut out, add),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Kind::Avx2` is made by `detect` alone, after it saw AVX2 and FMA.
                Kind::Avx2 => unsafe { linear_avx2(x, w, k, &mut out, add) },
            }
        };
        if m * n * k < WORTH_SPLITTING || blocks == 1 {
            (0..blocks).for_each(block);
        } else {
            (0..blocks).into_par_iter().for_each(block);
        }
    }

    /// Attention of one head for one position: `out (d) = softmax(q Kᵀ / √d) V` over all `len` cached positions.
    ///
    /// `keys` and `values` start at this head; position `j` begins at `j * stride`. `scores` is scratch.
    pub(crate) fn attend(self, q: &[f32], kv: Cached<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
        match self.0 {
            Kind::Portable => generic::attend::<false>(q, kv, scores, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kind::Avx2` is made by `detect` alone, after it saw AVX2 and FMA.
            Kind::Avx2 => unsafe { attend_avx2(q, kv, scores, out) },
        }
    }

    /// `out = x / rms(x) · weight`, `rms(x) = √(mean(x²) + eps)` (Zhang and Sennrich, arXiv 1910.07467), row by row.
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let rows = x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len()));
        rows.for_each(|(x, out)| match self.0 {
            Kind::Portable => generic::rms_norm::<false>(x, weight, eps, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kind::Avx2` is made by `detect` alone, after it saw AVX2 and FMA.
            Kind::Avx2 => unsafe { rms_norm_avx2(x, weight, eps, out) },
        });
    }
}

/// Keys and values of one head of one sequence.
#[derive(Clone, Copy)]
pub(crate) struct Cached<'a> {
    /// Keys, from this head of position 0 on.
    pub(crate) keys: &'a [f32],
    /// Values, likewise.
    pub(crate) values: &'a [f32],
    /// Elements from one position to the next.
    pub(crate) stride: usize,
    /// Positions to look at.
    pub(crate) len: usize,
}

/// `gate = silu(gate) · up`, `silu(x) = x / (1 + e⁻ˣ)`.
pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    gate.iter_mut().zip(up).for_each(|(g, u)| *g = *g / (1.0 + (-*g).exp()) * u);
}

/// `y += x`, element by element.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn linear_avx2(x: &[f32], w: &[f32], k: usize, out: &mut strip::Columns<'_>, add: bool) {
    generic::linear::<true>(x, w, k, out, add);
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_avx2(q: &[f32], kv: Cached<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
    generic::attend::<true>(q, kv, scores, out);
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn rms_norm_avx2(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    generic::rms_norm::<true>(x, weight, eps, out);
}

#[cfg(test)]
mod tests;
