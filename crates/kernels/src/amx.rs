//! AMX: products in tiles of sixteen rows, sixteen outputs and the 64 bytes of a word of each line.
//!
//! ```text
//! tmm0-3  sums of up to 16 rows and 4 panels          tmm4  16 words of these rows     tmm5-7  16 lines of a panel
//! ```
//!
//! bf16 goes through tiles for any number of rows: a tile's sums are another chain than AVX-512's, the same for each of its
//! rows. int8 is exact within a group, and its groups are scaled and added as everywhere, so its bits are those of VNNI.
//! Nothing of this can be written with intrinsics on stable Rust.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::ops::Range;
use std::sync::LazyLock;

use crate::line::Line;
use crate::panels::TILE_LINES;
use crate::precision::Precision;
use crate::simd::{LANES, Op, Simd};
use crate::strip::{Strip, Term};

/// Panels whose sums are held together.
const PANELS: usize = 4;

/// Whether the CPU has AMX for bf16 and int8 and the system lets this process use it.
pub(crate) fn is_permitted() -> bool {
    static PERMITTED: LazyLock<bool> = LazyLock::new(|| {
        // Leaf 7, EDX: AMX-BF16, AMX-TILE, AMX-INT8. Leaf 1, ECX: XGETBV may be used.
        const WANTED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        let has_leaf = __cpuid(0).eax >= 7;
        let has_xgetbv = __cpuid(1).ecx & 1 << 27 != 0;
        // SAFETY: the bit just read says that the system has enabled XGETBV.
        has_leaf && has_xgetbv && __cpuid_count(7, 0).edx & WANTED == WANTED && unsafe { saves_tiles() } && ask()
    });
    *PERMITTED
}

/// Whether the system saves tiles: bits 17 and 18 of XCR0.
///
/// # Safety
/// XGETBV may be used.
#[target_feature(enable = "xsave")]
unsafe fn saves_tiles() -> bool {
    // SAFETY: as promised by the caller; register 0 exists wherever XGETBV does.
    unsafe { _xgetbv(0) >> 17 & 3 == 3 }
}

/// Asks Linux for the use of tile data by this process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`.
fn ask() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    let mut result: i64 = 158;
    // SAFETY: a system call that changes nothing but this permission; it clobbers rcx and r11 alone.
    unsafe {
        asm!("syscall", inout("rax") result, in("rdi") 0x1023, in("rsi") 18, out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

/// What `ldtilecfg` reads (Intel SDM, volume 1, chapter 18).
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// Sums and words have `rows` rows, lines sixteen.
    fn new(rows: usize) -> Self {
        let (mut bytes, mut heights) = ([0; 16], [0; 16]);
        bytes[..8].fill(64);
        heights[..5].fill(rows as u8);
        heights[5..8].fill(16);
        Self { palette: 1, start: 0, reserved: [0; 14], bytes, rows: heights }
    }
}

/// A strip whose bf16 and int8 terms are computed in tiles. Run only where [`is_permitted`].
pub(crate) struct Tiled<'a>(pub(crate) Strip<'a>);

impl Op for Tiled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(strip) = self;
        for (i, term) in strip.terms.iter().enumerate() {
            let rows = term.within(&strip.rows);
            let (precision, add) = (term.w.precision(), strip.add || i > 0);
            if precision == Precision::F32 || term.w.input() == 0 || precision == Precision::Int8 && rows.len() == 1 {
                let (panels, rows) = (strip.panels.clone(), strip.rows.clone());
                Strip { terms: std::slice::from_ref(term), panels, rows, add, ..strip }.run(s);
                continue;
            }
            for start in rows.clone().step_by(LANES) {
                let block = Block { strip: &strip, term, rows: start..rows.end.min(start + LANES), add };
                // SAFETY: tiles may be used here, and `block` holds rows and panels of the term and the target.
                unsafe { block.run(s) };
            }
        }
    }
}

/// Up to sixteen rows of a term.
struct Block<'a> {
    strip: &'a Strip<'a>,
    term: &'a Term<'a>,
    rows: Range<usize>,
    add: bool,
}

/// Where tiles are put down.
#[repr(C, align(64))]
struct Sums<T>([[[T; LANES]; LANES]; PANELS]);

/// Calls `$tile` with `0`, `1`, `2`, `3` as far as there are panels: registers must be named.
macro_rules! each_panel {
    ($count:expr, $p:ident => $body:expr) => {{
        each_panel!(@one $count, $p, 0, $body);
        each_panel!(@one $count, $p, 1, $body);
        each_panel!(@one $count, $p, 2, $body);
        each_panel!(@one $count, $p, 3, $body);
    }};
    (@one $count:expr, $p:ident, $n:literal, $body:expr) => {
        if $n < $count {
            const $p: usize = $n;
            $body
        }
    };
}

impl Block<'_> {
    /// # Safety
    /// Tiles may be used, and rows and panels are within term and target.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, s: S) {
        let config = Config::new(self.rows.len());
        // SAFETY: a valid configuration, given up below.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly, preserves_flags)) };
        for panel in self.strip.panels.clone().step_by(PANELS) {
            let panels = panel..self.strip.panels.end.min(panel + PANELS);
            // SAFETY: as promised by the caller; the tiles were configured.
            unsafe {
                match self.term.w.precision() {
                    Precision::Int8 => self.integers(s, panels),
                    _ => self.floats(s, panels),
                }
            }
        }
        // SAFETY: nothing is kept in tiles; without this the system would save them at each switch of threads.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }

    /// First word of the rows, and bytes from one row to the next.
    fn words(&self) -> (*const u32, usize) {
        let (x, words) = (&self.term.x, self.term.x.words_per_row());
        (x.words[(self.rows.start - self.term.first) * words..].as_ptr(), 4 * words)
    }

    /// # Safety
    /// As [`Self::run`], after the tiles were configured.
    #[inline(always)]
    unsafe fn floats<S: Simd>(&self, s: S, panels: Range<usize>) {
        let (words, stride) = self.words();
        let mut sums = Sums([[[0.0; LANES]; LANES]; PANELS]);
        if self.add {
            // SAFETY: the target holds these rows and columns.
            unsafe {
                self.each_sum(&panels, |p, i, row, column| {
                    s.store(self.strip.target.load(s, row, column), &mut sums.0[p][i]);
                })
            };
        }
        let starts: [*const Line; PANELS] = self.starts(&panels);
        // SAFETY: the words of each row and the lines of each panel are whole tiles; `sums` has room for each tile.
        unsafe {
            each_panel!(panels.len(), P => load::<P>(sums.0[P].as_ptr().cast(), 64));
            for tile in 0..stride / 64 {
                load::<4>(words.add(tile * LANES).cast(), stride);
                each_panel!(panels.len(), P => {
                    load::<{ 5 + P % 3 }>(starts[P].add(tile * LANES).cast(), 64);
                    dot_bf16::<P, { 5 + P % 3 }>();
                });
            }
            each_panel!(panels.len(), P => store::<P>(sums.0[P].as_mut_ptr().cast()));
            self.each_sum(&panels, |p, i, row, column| {
                self.strip.target.store(s, s.load(&sums.0[p][i]), row, column);
            });
        }
    }

    /// # Safety
    /// As [`Self::floats`].
    #[inline(always)]
    unsafe fn integers<S: Simd>(&self, s: S, panels: Range<usize>) {
        let (words, stride) = self.words();
        let groups = stride / 64;
        let first = (self.rows.start - self.term.first) * groups;
        let (scales, offsets) = (&self.term.x.scales[first..], &self.term.x.offsets[first..]);
        let mut sums = [[s.splat(0.0); PANELS]; LANES];
        if self.add {
            // SAFETY: the target holds these rows and columns.
            unsafe {
                self.each_sum(&panels, |p, i, row, column| {
                    sums[i][p] = self.strip.target.load(s, row, column);
                })
            };
        }
        let starts: [*const Line; PANELS] = self.starts(&panels);
        let mut exact = Sums([[[0_i32; LANES]; LANES]; PANELS]);
        for group in 0..groups {
            // SAFETY: each row has sixteen words and each panel a tile for the group; `exact` has room for each tile.
            unsafe {
                load::<4>(words.add(group * LANES).cast(), stride);
                each_panel!(panels.len(), P => {
                    zero::<P>();
                    load::<{ 5 + P % 3 }>(starts[P].add(group * TILE_LINES).cast(), 64);
                    dot_i8_u8::<P, { 5 + P % 3 }>();
                    store::<P>(exact.0[P].as_mut_ptr().cast());
                });
            }
            for p in 0..panels.len() {
                // SAFETY: the scales are the last line of the tile.
                let w = s.load(unsafe { &*starts[p].add(group * TILE_LINES + LANES) }.as_f32());
                for i in 0..self.rows.len() {
                    let (scale, offset) = (scales[i * groups + group], offsets[i * groups + group]);
                    let whole = s.to_f32(s.add_i32(s.load_i32(&exact.0[p][i]), s.splat_i32(offset)));
                    sums[i][p] = s.mul_add(whole, s.mul(w, s.splat(scale)), sums[i][p]);
                }
            }
        }
        // SAFETY: the target holds these rows and columns.
        unsafe { self.each_sum(&panels, |p, i, row, column| self.strip.target.store(s, sums[i][p], row, column)) };
    }

    fn starts(&self, panels: &Range<usize>) -> [*const Line; PANELS] {
        std::array::from_fn(|p| self.term.w.panel((panels.start + p).min(panels.end - 1)).as_ptr())
    }

    /// Calls `f` with panel and row of the block, and with row and column of the target.
    ///
    /// # Safety
    /// What `f` asks for.
    #[inline(always)]
    unsafe fn each_sum(&self, panels: &Range<usize>, mut f: impl FnMut(usize, usize, usize, usize)) {
        for p in 0..panels.len() {
            for i in 0..self.rows.len() {
                let row = self.rows.start - self.strip.rows.start + i;
                f(p, i, row, (panels.start + p - self.strip.panels.start) * LANES);
            }
        }
    }
}

/// # Safety
/// The tile is configured.
#[inline(always)]
unsafe fn zero<const T: usize>() {
    // SAFETY: as promised.
    unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack, nomem, preserves_flags)) };
}

/// # Safety
/// The tile is configured; each of its rows is 64 bytes, `stride` bytes after the one before.
#[inline(always)]
unsafe fn load<const T: usize>(from: *const u8, stride: usize) {
    // SAFETY: as promised.
    unsafe {
        asm!("tileloadd tmm{t}, [{from} + {stride}*1]", t = const T, from = in(reg) from, stride = in(reg) stride,
             options(nostack, readonly, preserves_flags));
    }
}

/// # Safety
/// The tile is configured, and there is room for its rows of 64 bytes.
#[inline(always)]
unsafe fn store<const T: usize>(to: *mut u8) {
    // SAFETY: as promised.
    unsafe {
        asm!("tilestored [{to} + {stride}*1], tmm{t}", t = const T, to = in(reg) to, stride = in(reg) 64_usize,
             options(nostack, preserves_flags));
    }
}

/// `T += words · line B`, pairs of bf16.
///
/// # Safety
/// The tiles are configured.
#[inline(always)]
unsafe fn dot_bf16<const T: usize, const B: usize>() {
    // SAFETY: as promised.
    unsafe {
        asm!("tdpbf16ps tmm{t}, tmm4, tmm{b}", t = const T, b = const B, options(nostack, nomem, preserves_flags))
    };
}

/// `T += words · line B`, four signed activations with four unsigned weights.
///
/// # Safety
/// The tiles are configured.
#[inline(always)]
unsafe fn dot_i8_u8<const T: usize, const B: usize>() {
    // SAFETY: as promised.
    unsafe { asm!("tdpbsud tmm{t}, tmm4, tmm{b}", t = const T, b = const B, options(nostack, nomem, preserves_flags)) };
}
