//! The kernels' one source. `FMA` says whether the instruction set multiplies and adds in one rounding.
//!
//! Everything here is inlined into a caller that enables an instruction set; the fixed-size loops over [`LANES`] become
//! its vectors. Index loops on purpose: closures would not be compiled for the caller's instruction set.
#![allow(unsafe_code, clippy::needless_range_loop)]

use super::Cached;
use super::strip::Columns;

/// Partial sums of every reduction; fixed, so that a wider instruction set gives the same bits.
const LANES: usize = 8;
/// Rows of `x` in one tile.
const TILE_M: usize = 4;
/// Rows of `w` in one tile: `TILE_M * TILE_N` vectors of sums and one of each operand fit in 16 registers.
const TILE_N: usize = 3;
/// Rows of `w` in one tile of a single row: more streams of memory at once.
const WIDE_N: usize = 8;

type Lanes = [f32; LANES];

#[inline(always)]
fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Pairwise, always in this order.
#[inline(always)]
fn sum(v: Lanes) -> f32 {
    ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
}

/// # Safety
/// `at + LANES <= x.len()`: checks here would cost a third of the speed.
#[inline(always)]
unsafe fn lanes(x: &[f32], at: usize) -> Lanes {
    debug_assert!(at + LANES <= x.len());
    // SAFETY: the caller keeps the promise above; `Lanes` has no invalid bits.
    unsafe { x.as_ptr().add(at).cast::<Lanes>().read_unaligned() }
}

/// `out (m, n) = x (m, k) · w (n, k)ᵀ`, added to `out` when `add` is set.
#[inline(always)]
pub(super) fn linear<const FMA: bool>(x: &[f32], w: &[f32], k: usize, out: &mut Columns<'_>, add: bool) {
    let (m, n) = (x.len() / k, out.len());
    let mut j = 0;
    if m == 1 {
        while j + WIDE_N <= n {
            store(tile::<FMA, 1, WIDE_N>(x, &w[j * k..], k), out, 0, j, add);
            j += WIDE_N;
        }
    }
    while j < n {
        let factors = Factors { x, w: &w[j * k..], k };
        match (n - j).min(TILE_N) {
            3 => column_tile::<FMA, 3>(factors, out, j, add),
            2 => column_tile::<FMA, 2>(factors, out, j, add),
            _ => column_tile::<FMA, 1>(factors, out, j, add),
        }
        j += TILE_N;
    }
}

/// Rows of `x` and of `w`, each `k` long.
#[derive(Clone, Copy)]
struct Factors<'a> {
    x: &'a [f32],
    w: &'a [f32],
    k: usize,
}

#[inline(always)]
fn column_tile<const FMA: bool, const N: usize>(factors: Factors<'_>, out: &mut Columns<'_>, j: usize, add: bool) {
    let Factors { x, w, k } = factors;
    let m = x.len() / k;
    for i in (0..m).step_by(TILE_M) {
        let x = &x[i * k..];
        match (m - i).min(TILE_M) {
            4 => store(tile::<FMA, 4, N>(x, w, k), out, i, j, add),
            3 => store(tile::<FMA, 3, N>(x, w, k), out, i, j, add),
            2 => store(tile::<FMA, 2, N>(x, w, k), out, i, j, add),
            _ => store(tile::<FMA, 1, N>(x, w, k), out, i, j, add),
        }
    }
}

#[inline(always)]
fn store<const M: usize, const N: usize>(tile: [[f32; N]; M], out: &mut Columns<'_>, i: usize, j: usize, add: bool) {
    for (r, sums) in tile.iter().enumerate() {
        let row = &mut out.row(i + r)[j..j + N];
        for (out, sum) in row.iter_mut().zip(sums) {
            *out = if add { *out + sum } else { *sum };
        }
    }
}

/// `M x N` dot products of length `k`. The rest that fills no vector is summed one by one, after the lanes.
#[inline(always)]
fn tile<const FMA: bool, const M: usize, const N: usize>(x: &[f32], w: &[f32], k: usize) -> [[f32; N]; M] {
    let (x, w) = (&x[..M * k], &w[..N * k]);
    let mut sums = [[[0.0; LANES]; N]; M];
    let whole = k - k % LANES;
    let mut at = 0;
    while at < whole {
        let mut wv = [[0.0; LANES]; N];
        for j in 0..N {
            // SAFETY: `at + LANES <= whole <= k`, and `w` holds `N` rows of `k`.
            wv[j] = unsafe { lanes(w, j * k + at) };
        }
        for i in 0..M {
            // SAFETY: as above, and `x` holds `M` rows of `k`.
            let xv = unsafe { lanes(x, i * k + at) };
            for j in 0..N {
                for l in 0..LANES {
                    sums[i][j][l] = mul_add::<FMA>(xv[l], wv[j][l], sums[i][j][l]);
                }
            }
        }
        at += LANES;
    }
    let mut tile = [[0.0; N]; M];
    for i in 0..M {
        for j in 0..N {
            tile[i][j] = sum(sums[i][j]);
            for c in whole..k {
                tile[i][j] = mul_add::<FMA>(x[i * k + c], w[j * k + c], tile[i][j]);
            }
        }
    }
    tile
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    tile::<FMA, 1, 1>(a, b, a.len())[0][0]
}

/// See [`super::Isa::attend`]. The largest score is subtracted before `exp`, so nothing overflows.
#[inline(always)]
pub(super) fn attend<const FMA: bool>(q: &[f32], kv: Cached<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
    let d = q.len();
    let scale = 1.0 / (d as f32).sqrt();
    scores.clear();
    let mut largest = f32::NEG_INFINITY;
    for j in 0..kv.len {
        let score = dot::<FMA>(q, &kv.keys[j * kv.stride..][..d]) * scale;
        largest = largest.max(score);
        scores.push(score);
    }
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        total += *score;
    }
    out.fill(0.0);
    for (j, score) in scores.iter().enumerate() {
        let value = &kv.values[j * kv.stride..][..d];
        for (out, value) in out.iter_mut().zip(value) {
            *out = mul_add::<FMA>(*score, *value, *out);
        }
    }
    let inverse = 1.0 / total;
    out.iter_mut().for_each(|out| *out *= inverse);
}

/// See [`super::Isa::rms_norm`].
#[inline(always)]
pub(super) fn rms_norm<const FMA: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mean = dot::<FMA>(x, x) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}
