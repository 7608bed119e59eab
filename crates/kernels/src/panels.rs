//! A packed weight matrix.
//!
//! ```text
//! panel p = outputs 16p .. 16p+16          a line = 64 bytes = 16 outputs x one 32-bit word
//!
//!   f32    line k:  w[o0][k]     w[o1][k]     ...  w[o15][k]          1 input
//!   bf16   line k:  w[o0][2k,+1] w[o1][2k,+1] ...                     2 inputs, the first in the low half
//!   int8   line k:  w[o0][4k..+4] ...                                 4 inputs, stored as w + 128
//!
//!   int8 keeps tiles:  [16 lines = 64 inputs][1 line: the f32 scale of each output for these 64 inputs] ...
//! ```
//!
//! One line is multiplied with one word of an activation row, broadcast: that is an FMA, a bf16 pair product or a VNNI
//! dot product. Sixteen lines are a tile of AMX, byte for byte. Inputs and outputs are padded with zeros.

use crate::line::{Line, Lines};
use crate::precision::{GROUP, Precision, SMALLEST};
use crate::simd::LANES;

/// Lines of one int8 tile with its scales.
pub(crate) const TILE_LINES: usize = 17;

/// Weights of a linear layer, (out, in), packed for the kernels.
#[derive(Debug)]
pub struct Panels {
    precision: Precision,
    out: usize,
    input: usize,
    lines: Lines,
}

impl Panels {
    /// Packs `weight`, (out, in) row-major.
    ///
    /// int8: `w ≈ scale · q`, `scale = max|w| / 127` over each group of one output, `q` rounded to nearest, halves to even.
    ///
    /// # Panics
    /// When the values do not fill the shape.
    #[must_use]
    pub fn pack(precision: Precision, out: usize, input: usize, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), out * input, "({out}, {input})");
        let mut packed = Self::zero(precision, out, input);
        let per_panel = packed.lines_per_panel();
        let panels = packed.lines.as_mut_slice().chunks_exact_mut(per_panel.max(1));
        for (lines, rows) in panels.zip(weight.chunks(LANES * input.max(1))) {
            pack_panel(precision, rows, input, lines);
        }
        packed
    }

    fn zero(precision: Precision, out: usize, input: usize) -> Self {
        let words = precision.words(input);
        let per_panel = if precision == Precision::Int8 { words / 16 * TILE_LINES } else { words };
        Self { precision, out, input, lines: Lines::new(out.div_ceil(LANES) * per_panel) }
    }

    /// Number format.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out
    }

    /// Columns of the matrix.
    #[must_use]
    pub fn input(&self) -> usize {
        self.input
    }

    /// Bytes in memory, scales and padding included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// Bytes that a matrix of this shape takes.
    #[must_use]
    pub fn bytes_of(precision: Precision, out: usize, input: usize) -> usize {
        let words = precision.words(input);
        let per_panel = if precision == Precision::Int8 { words / 16 * TILE_LINES } else { words };
        out.div_ceil(LANES) * per_panel * size_of::<Line>()
    }

    /// Panels of 16 outputs, the last one padded.
    pub(crate) fn count(&self) -> usize {
        self.out.div_ceil(LANES)
    }

    pub(crate) fn panel(&self, index: usize) -> &[Line] {
        let len = self.lines_per_panel();
        &self.lines.as_slice()[index * len..][..len]
    }

    fn lines_per_panel(&self) -> usize {
        self.lines.as_slice().len() / self.count().max(1)
    }
}

/// Packs up to 16 rows of `input` values.
fn pack_panel(precision: Precision, rows: &[f32], input: usize, lines: &mut [Line]) {
    for (lane, row) in rows.chunks_exact(input).enumerate() {
        match precision {
            Precision::F32 => {
                for (line, w) in lines.iter_mut().zip(row) {
                    line.as_u32_mut()[lane] = w.to_bits();
                }
            }
            Precision::Bf16 => {
                for (line, pair) in lines.iter_mut().zip(row.chunks(2)) {
                    let bits = |i: usize| pair.get(i).map_or(0, |w| u32::from(half::bf16::from_f32(*w).to_bits()));
                    line.as_u32_mut()[lane] = bits(0) | bits(1) << 16;
                }
            }
            Precision::Int8 => pack_int8(row, lane, lines),
        }
    }
    if precision == Precision::Int8 {
        // Outputs that do not exist: zero is stored as 128 too, their scale is zero.
        let present = rows.len() / input.max(1);
        for tile in lines.chunks_exact_mut(TILE_LINES) {
            for line in &mut tile[..TILE_LINES - 1] {
                line.as_u32_mut()[present..].fill(0x8080_8080);
            }
        }
    }
}

fn pack_int8(row: &[f32], lane: usize, lines: &mut [Line]) {
    for (tile, group) in lines.chunks_exact_mut(TILE_LINES).zip(row.chunks(GROUP)) {
        // Magnitudes are ordered as their bits are, and NaN is the largest: it shows in the scale, as infinities do.
        let largest = f32::from_bits(group.iter().fold(0, |m, w| m.max(w.abs().to_bits())));
        let scale = largest / 127.0;
        let inverse = if largest >= SMALLEST { 1.0 / scale } else { 0.0 };
        let byte = |i: usize| {
            let q = (group.get(i).unwrap_or(&0.0) * inverse).round_ties_even().clamp(-127.0, 127.0);
            (q as i8 as u8) ^ 0x80
        };
        let (scales, lines) = tile.split_last_mut().expect("a tile has its scales");
        for (k, line) in lines.iter_mut().enumerate() {
            line.as_bytes_mut()[4 * lane..][..4].copy_from_slice(&[0, 1, 2, 3].map(|i| byte(4 * k + i)));
        }
        scales.as_u32_mut()[lane] = scale.to_bits();
    }
}
