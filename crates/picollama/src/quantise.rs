//! ggml's simple encodings, as llama.cpp writes them.
//!
//! Layouts: <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>; a block is 32 values of one row.

use half::f16;

/// Values of one block.
pub(crate) const BLOCK: usize = 32;

/// 8 bits: scale, 32 signed bytes.
pub(crate) fn q8_0(block: &[f32]) -> Vec<u8> {
    let scale = largest(block).abs() / 127.0;
    let mut bytes = f16::from_f32(scale).to_le_bytes().to_vec();
    bytes.extend(block.iter().map(|value| (value * inverse(scale)).round() as i8 as u8));
    bytes
}

/// 4 bits around zero: scale, then the first and second half of the block in low and high nibbles.
pub(crate) fn q4_0(block: &[f32]) -> Vec<u8> {
    let scale = largest(block) / -8.0;
    let nibble = |value: f32| ((value * inverse(scale) + 8.5) as u8).min(15);
    let mut bytes = f16::from_f32(scale).to_le_bytes().to_vec();
    bytes.extend(nibbles(block, nibble));
    bytes
}

/// 4 bits above a minimum: scale, minimum, nibbles as in [`q4_0`].
pub(crate) fn q4_1(block: &[f32]) -> Vec<u8> {
    let minimum = block.iter().copied().fold(f32::INFINITY, f32::min);
    let maximum = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = (maximum - minimum) / 15.0;
    let nibble = |value: f32| (((value - minimum) * inverse(scale) + 0.5) as u8).min(15);
    let mut bytes = f16::from_f32(scale).to_le_bytes().to_vec();
    bytes.extend(f16::from_f32(minimum).to_le_bytes());
    bytes.extend(nibbles(block, nibble));
    bytes
}

fn nibbles(block: &[f32], nibble: impl Fn(f32) -> u8) -> Vec<u8> {
    let (low, high) = block.split_at(BLOCK / 2);
    low.iter().zip(high).map(|(low, high)| nibble(*low) | nibble(*high) << 4).collect()
}

/// The value of largest magnitude, with its sign.
fn largest(block: &[f32]) -> f32 {
    block.iter().copied().fold(0.0, |largest: f32, value| if value.abs() > largest.abs() { value } else { largest })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
