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
//!   The last one has 8 lines where no more than 32 inputs are left, but for AMX, which takes whole tiles.
//! ```
//!
//! One line is multiplied with one word of an activation row, broadcast: that is an FMA, a bf16 pair product or a VNNI
//! dot product. Sixteen lines are a tile of AMX, byte for byte. Inputs and outputs are padded with zeros.

use crate::Isa;
use crate::isa::has_tiles;
use crate::line::{Line, Lines};
use crate::pack::Pack;
use crate::precision::Precision;
use crate::simd::LANES;

/// Lines of one int8 tile with its scales.
pub(crate) const TILE_LINES: usize = 17;
/// Lines of weights of a last tile that is half as long.
pub(crate) const HALF_TILE: usize = LANES / 2;

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
        let isa = Isa::detect();
        for (lines, rows) in packed.panels_mut().zip(weight.chunks(LANES * input.max(1))) {
            isa.run(Pack { precision, rows, input, lines });
        }
        packed
    }

    /// The lines of each panel.
    pub(crate) fn panels_mut(&mut self) -> impl Iterator<Item = &mut [Line]> {
        let per_panel = self.lines_per_panel().max(1);
        self.lines.as_mut_slice().chunks_exact_mut(per_panel)
    }

    pub(crate) fn zero(precision: Precision, out: usize, input: usize) -> Self {
        let lines = out.div_ceil(LANES) * lines_per_panel(precision, input);
        Self { precision, out, input, lines: Lines::new(lines) }
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
        out.div_ceil(LANES) * lines_per_panel(precision, input) * size_of::<Line>()
    }

    /// Panels of 16 outputs, the last one padded.
    pub(crate) fn count(&self) -> usize {
        self.out.div_ceil(LANES)
    }

    pub(crate) fn panel(&self, index: usize) -> &[Line] {
        let len = self.lines_per_panel();
        &self.lines.as_slice()[index * len..][..len]
    }

    /// Lines of weights in each panel, scales not counted.
    pub(crate) fn weight_lines(&self) -> usize {
        weight_lines(self.precision, self.input)
    }

    fn lines_per_panel(&self) -> usize {
        self.lines.as_slice().len() / self.count().max(1)
    }
}

fn weight_lines(precision: Precision, input: usize) -> usize {
    let words = precision.words(input);
    let left = input.div_ceil(precision.per_word()) % LANES;
    let half = precision == Precision::Int8 && (1..=HALF_TILE).contains(&left) && !has_tiles();
    if half { words - HALF_TILE } else { words }
}

fn lines_per_panel(precision: Precision, input: usize) -> usize {
    let lines = weight_lines(precision, input);
    if precision == Precision::Int8 { lines + lines.div_ceil(LANES) } else { lines }
}
