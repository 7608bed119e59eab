//! Packing sixteen rows of weights into a panel.

use crate::line::Line;
use crate::panels::TILE_LINES;
use crate::precision::{GROUP, Precision, SMALLEST};
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};

/// What zero is stored as in int8, four times.
const ZEROS: u32 = 0x8080_8080;

/// Up to sixteen rows of `input` values, into the lines of one panel.
pub(crate) struct Pack<'a> {
    pub(crate) precision: Precision,
    pub(crate) rows: &'a [f32],
    pub(crate) input: usize,
    pub(crate) lines: &'a mut [Line],
}

impl Op for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { precision, rows, input, lines } = self;
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
                Precision::Int8 => int8(s, row, lane, lines),
            }
        }
        if precision == Precision::Int8 {
            // Outputs that do not exist: their scale is zero.
            let present = rows.len() / input.max(1);
            for tile in lines.chunks_mut(TILE_LINES) {
                let weights = tile.len() - 1;
                for line in &mut tile[..weights] {
                    line.as_u32_mut()[present..].fill(ZEROS);
                }
            }
        }
    }
}

#[inline(always)]
fn int8<S: Simd>(s: S, row: &[f32], lane: usize, lines: &mut [Line]) {
    for (index, tile) in lines.chunks_mut(TILE_LINES).enumerate() {
        let mut parts = [s.splat(0.0); 4];
        for (i, part) in parts.iter_mut().enumerate() {
            *part = load_part(s, row, index * GROUP + i * LANES);
        }
        // NaN is the largest magnitude: it shows in the scale, as infinities do.
        let largest = s.largest_magnitude(parts);
        let inverse = s.splat(if largest >= SMALLEST { 127.0 / largest } else { 0.0 });
        let (scales, weights) = tile.split_last_mut().expect("a tile has a line");
        for (part, lines) in parts.iter().zip(weights.chunks_exact_mut(4)) {
            let bytes = s.bytes(s.round(s.mul(*part, inverse)));
            for (quad, line) in bytes.as_chunks::<4>().0.iter().zip(lines) {
                line.as_u32_mut()[lane] = u32::from_le_bytes(*quad) ^ ZEROS;
            }
        }
        scales.as_u32_mut()[lane] = (largest / 127.0).to_bits();
    }
}
