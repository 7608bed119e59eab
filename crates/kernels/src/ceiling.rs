//! What this machine can do at best: the bounds that kernels are held against.
#![allow(clippy::needless_range_loop)]

use std::hint::black_box;
use std::time::Instant;

use crate::line::{Line, Lines};
use crate::simd::{Op, Simd};
use crate::{Compute, Precision};

/// Bytes that are read: far beyond any cache.
const BYTES: usize = 256 << 20;
/// Lines of one unit of reading.
const UNIT_LINES: usize = 1 << 14;
/// Rounds of multiply-adds of one unit.
const ROUNDS: usize = 20_000;
/// Repetitions, of which the best counts.
const TIMES: usize = 7;

impl Compute {
    /// Bytes a second that the team reads from memory, best of a few. Takes about a second.
    #[must_use]
    pub fn read_ceiling(&self) -> f64 {
        let mut lines = Lines::new(BYTES / size_of::<Line>());
        // Written once, else all of it is one and the same page of zeros.
        lines.as_mut_slice().fill(Line::ZERO);
        let parts: Vec<&[Line]> = lines.as_slice().chunks(UNIT_LINES).collect();
        let seconds = best(|| self.team().run(parts.len(), &|unit| _ = black_box(self.isa().run(Read(parts[unit])))));
        BYTES as f64 / seconds
    }

    /// Multiply-adds a second of the team in registers, best of a few.
    #[must_use]
    pub fn multiply_ceiling(&self, precision: Precision) -> f64 {
        let units = 4 * self.team().threads();
        let once = || self.isa().run(Multiply(precision));
        let multiply_adds = (units * once()) as f64;
        multiply_adds / best(|| self.team().run(units, &|_| _ = black_box(once())))
    }
}

fn best(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    (0..TIMES).map(once).fold(f64::INFINITY, f64::min)
}

struct Read<'a>(&'a [Line]);

impl Op for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.splat(0.0); 8];
        for lines in self.0.as_chunks::<8>().0 {
            for i in 0..8 {
                sums[i] = s.add(sums[i], s.load(lines[i].as_f32()));
            }
        }
        sums.into_iter().map(|sum| s.sum(sum)).sum()
    }
}

/// Gives the number of multiply-adds.
struct Multiply(Precision);

impl Op for Multiply {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        if S::WIDE { chains::<S, 16>(s, self.0) } else { chains::<S, 6>(s, self.0) }
    }
}

/// `N` sums that do not wait for each other.
#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, precision: Precision) -> usize {
    let (line, word, pair, quad) = (black_box(Line::ZERO), black_box(0), S::Pair::default(), S::Quad::default());
    let (mut sums, mut exact) = ([s.splat(0.0); N], [s.splat_i32(0); N]);
    match precision {
        Precision::F32 => {
            for _ in 0..ROUNDS {
                for i in 0..N {
                    sums[i] = s.dot_f32(sums[i], &line, &word);
                }
            }
        }
        Precision::Bf16 => {
            let pair = black_box(pair);
            for _ in 0..ROUNDS {
                for i in 0..N {
                    sums[i] = s.dot_bf16(sums[i], &line, &pair);
                }
            }
        }
        Precision::Int8 => {
            for _ in 0..ROUNDS {
                // Otherwise products of what never changes are computed once where one instruction is not all of them.
                let (line, quad) = (black_box(&line), black_box(&quad));
                for i in 0..N {
                    exact[i] = s.dot_u8(exact[i], line, quad);
                }
            }
        }
    }
    for i in 0..N {
        black_box((s.sum(sums[i]), s.sum_i32(exact[i])));
    }
    ROUNDS * N * 16 * precision.per_word()
}
