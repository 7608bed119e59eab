//! The innermost loops: a few rows times a few panels, all sums in registers.
//!
//! Every output is one chain of additions over the lines of its panel, first to last. How many rows and panels are
//! computed together, and where a chain is put down to memory and taken up again, changes no bit of it.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::ops::Range;

use crate::line::Line;
use crate::panels::{HALF_TILE, TILE_LINES};
use crate::precision::Precision;
use crate::simd::{LANES, Simd};

/// Part of a product: some lines of a few panels, and the words of the rows that meet them.
#[derive(Clone, Copy)]
pub(crate) struct Segment<const P: usize> {
    /// First line of each panel; `lines` of them are there (int8: with the scales of each sixteen).
    pub(crate) panels: [*const Line; P],
    /// Lines of weights, scales not counted; int8: whole tiles, and half a tile at the end or none.
    pub(crate) lines: usize,
    /// First word of the first row; what meets `lines` lines is there for each row.
    pub(crate) words: *const u32,
    /// Words from one row to the next.
    pub(crate) word_stride: usize,
    /// int8: first scale and offset of the first row, one for each 16 lines.
    pub(crate) scales: *const f32,
    pub(crate) offsets: *const i32,
    /// Scales from one row to the next.
    pub(crate) scale_stride: usize,
    /// What will be needed next, fetched meanwhile: `pace` lines of each panel for every sixteen that are multiplied.
    pub(crate) next: [*const Line; P],
    pub(crate) pace: usize,
}

impl<const P: usize> Segment<P> {
    /// A segment of floats: `lines` of each panel, the first row's words at the start of `words`, which has what meets them.
    pub(crate) fn floats(panels: [*const Line; P], lines: usize, words: &[u32], word_stride: usize) -> Self {
        let (scales, offsets) = (std::ptr::null(), std::ptr::null());
        let (words, next) = (words.as_ptr(), panels);
        Self { panels, lines, words, word_stride, scales, offsets, scale_stride: 0, next, pace: 0 }
    }

    /// Fetches what belongs to the sixteen lines of `group`. Loops over a number that is not known when this is compiled
    /// cost a fifth of a product.
    #[inline(always)]
    fn fetch<S: Simd>(&self, s: S, group: usize) {
        match self.pace {
            0 => {}
            1 => self.fetch_lines::<S, 1>(s, group),
            2 => self.fetch_lines::<S, 2>(s, group * 2),
            3 => self.fetch_lines::<S, 3>(s, group * 3),
            4 => self.fetch_lines::<S, 4>(s, group * 4),
            5 => self.fetch_lines::<S, 5>(s, group * 5),
            6 => self.fetch_lines::<S, 6>(s, group * 6),
            _ => self.fetch_lines::<S, 9>(s, group * 9),
        }
    }

    /// `N` lines of each panel, from `first` on.
    #[inline(always)]
    fn fetch_lines<S: Simd, const N: usize>(&self, s: S, first: usize) {
        for next in self.next {
            for line in 0..N {
                s.fetch(next.wrapping_add(first + line));
            }
        }
    }

    /// The same for a later row.
    ///
    /// # Safety
    /// The segment has that many rows.
    pub(crate) unsafe fn skip(self, rows: usize) -> Self {
        // SAFETY: rows lie one stride apart, as promised.
        unsafe {
            Self {
                words: self.words.add(rows * self.word_stride),
                scales: self.scales.add(rows * self.scale_stride),
                offsets: self.offsets.add(rows * self.scale_stride),
                ..self
            }
        }
    }
}

/// How a line of floats meets a word. A type and not a closure: closures are not compiled for an instruction set.
trait Dot {
    /// What a line meets, in one or more words.
    type Word<S: Simd>;
    fn dot<S: Simd>(s: S, acc: S::F32, w: &Line, x: &Self::Word<S>) -> S::F32;
}

struct SingleDot;

impl Dot for SingleDot {
    type Word<S: Simd> = u32;

    #[inline(always)]
    fn dot<S: Simd>(s: S, acc: S::F32, w: &Line, x: &u32) -> S::F32 {
        s.dot_f32(acc, w, x)
    }
}

struct Bf16Dot;

impl Dot for Bf16Dot {
    type Word<S: Simd> = S::Pair;

    #[inline(always)]
    fn dot<S: Simd>(s: S, acc: S::F32, w: &Line, x: &S::Pair) -> S::F32 {
        s.dot_bf16(acc, w, x)
    }
}

/// `acc += x · wᵀ` for `M` rows and `P` panels.
///
/// # Safety
/// The pointers of the segment are good for what its fields say, for `M` rows.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const M: usize, const P: usize>(
    s: S,
    precision: Precision,
    segment: Segment<P>,
    acc: &mut [[S::F32; P]; M],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        match precision {
            Precision::F32 => floats::<S, SingleDot, M, P>(s, segment, acc),
            Precision::Bf16 => floats::<S, Bf16Dot, M, P>(s, segment, acc),
            Precision::Int8 => integers(s, segment, acc),
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn floats<S: Simd, D: Dot, const M: usize, const P: usize>(
    s: S,
    segment: Segment<P>,
    acc: &mut [[S::F32; P]; M],
) {
    let mut sums = *acc;
    let mut start = 0;
    while start < segment.lines {
        let end = segment.lines.min(start + LANES);
        if M > 2 {
            segment.fetch(s, start / LANES);
        }
        // SAFETY: these lines are there.
        unsafe { some_lines::<S, D, M, P>(s, segment, start..end, &mut sums) };
        start = end;
    }
    *acc = sums;
}

/// Nothing but loads and multiply-adds: with the fetches among them one of the sums had no register and went through memory
/// with every line, at three times the time.
///
/// # Safety
/// As [`tile`], and the segment has these lines.
#[inline(always)]
unsafe fn some_lines<S: Simd, D: Dot, const M: usize, const P: usize>(
    s: S,
    segment: Segment<P>,
    lines: Range<usize>,
    sums: &mut [[S::F32; P]; M],
) {
    for k in lines {
        for i in 0..M {
            // SAFETY: `k` is below `lines`, and there are `M` rows.
            let x = unsafe { &*segment.words.add(i * segment.word_stride).cast::<D::Word<S>>().add(k) };
            for p in 0..P {
                // SAFETY: as above.
                let w = unsafe { &*segment.panels[p].add(k) };
                sums[i][p] = D::dot(s, sums[i][p], w, x);
            }
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn integers<S: Simd, const M: usize, const P: usize>(s: S, segment: Segment<P>, acc: &mut [[S::F32; P]; M]) {
    let mut sums = *acc;
    let whole = segment.lines / LANES;
    // SAFETY: these tiles are there.
    unsafe {
        for group in 0..whole {
            if M > 2 {
                segment.fetch(s, group);
            }
            integer_tile::<S, M, P, LANES>(s, segment, group, &mut sums);
        }
        if whole * LANES < segment.lines {
            integer_tile::<S, M, P, HALF_TILE>(s, segment, whole, &mut sums);
        }
    }
    *acc = sums;
}

/// A group of inputs, `L` lines: exact sums, scaled and added.
///
/// # Safety
/// As [`tile`], and the segment has these lines.
#[inline(always)]
unsafe fn integer_tile<S: Simd, const M: usize, const P: usize, const L: usize>(
    s: S,
    segment: Segment<P>,
    group: usize,
    sums: &mut [[S::F32; P]; M],
) {
    let mut exact = [[s.splat_i32(0); P]; M];
    for i in 0..M {
        // SAFETY: there is an offset and a scale for each group of each row.
        exact[i] = [s.splat_i32(unsafe { *segment.offsets.add(i * segment.scale_stride + group) }); P];
    }
    for k in 0..L {
        for i in 0..M {
            // SAFETY: each row has sixteen quads for each group, whole words.
            let x = unsafe {
                let row = segment.words.add(i * segment.word_stride).cast::<S::Quad>();
                &*row.add(group * LANES + k)
            };
            for p in 0..P {
                // SAFETY: a tile has its lines before its scales.
                let w = unsafe { &*segment.panels[p].add(group * TILE_LINES + k) };
                exact[i][p] = s.dot_u8(exact[i][p], w, x);
            }
        }
    }
    for p in 0..P {
        // SAFETY: the scales are the last line of the tile.
        let scales = s.load(unsafe { &*segment.panels[p].add(group * TILE_LINES + L) }.as_f32());
        for i in 0..M {
            // SAFETY: as for the offsets.
            let scale = s.splat(unsafe { *segment.scales.add(i * segment.scale_stride + group) });
            sums[i][p] = s.mul_add(s.to_f32(exact[i][p]), s.mul(scales, scale), sums[i][p]);
        }
    }
}
