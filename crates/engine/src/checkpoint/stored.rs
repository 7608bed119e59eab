//! A tensor as its file has it, decoded whole or row by row.

use std::borrow::Cow;
use std::ops::Range;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::CheckpointError;

/// How values are encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Encoding {
    /// Blocks of ggml; rows fill whole ones.
    Ggml(GgmlDType),
    /// One number after the other.
    Plain(DType),
}

/// The bytes of a tensor.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoding: Encoding,
    pub(crate) shape: Vec<usize>,
    /// Rows of each head, where their order is llama.cpp's.
    pub(crate) head: Option<usize>,
}

impl Stored {
    /// Some rows of a matrix (out, in), in f32 and in Hugging Face order, row-major.
    ///
    /// # Errors
    /// When a block cannot be decoded.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        let width = self.bytes.len() / self.shape[0];
        let bytes_of = |row: usize| &self.bytes[row * width..][..width];
        let count = rows.len();
        let bytes = match self.head {
            None => Cow::from(&self.bytes[rows.start * width..rows.end * width]),
            Some(head) => rows.map(|row| bytes_of(stored_row(row, head))).collect::<Vec<_>>().concat().into(),
        };
        let shape = [&[count], &self.shape[1..]].concat();
        Ok(self.decode(&bytes, shape)?.flatten_all()?.to_vec1()?)
    }

    /// All of it, in f32 and in Hugging Face order.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(crate) fn tensor(&self) -> Result<Tensor, CheckpointError> {
        let Some(head) = self.head else { return Ok(self.decode(&self.bytes, self.shape.clone())?) };
        let values = match self.shape[..] {
            [out, _] => self.rows(0..out)?,
            // A bias: one row in the file, whatever its blocks.
            _ => {
                let stored = self.decode(&self.bytes, self.shape.clone())?.flatten_all()?.to_vec1::<f32>()?;
                (0..stored.len()).map(|element| stored[stored_row(element, head)]).collect()
            }
        };
        Ok(Tensor::from_vec(values, self.shape.as_slice(), &Device::Cpu)?)
    }

    fn decode(&self, bytes: &[u8], shape: Vec<usize>) -> candle_core::Result<Tensor> {
        match self.encoding {
            Encoding::Ggml(dtype) => qtensor_from_ggml(dtype, bytes, shape, &Device::Cpu)?.dequantize(&Device::Cpu),
            Encoding::Plain(dtype) => Tensor::from_raw_buffer(bytes, dtype, &shape, &Device::Cpu)?.to_dtype(DType::F32),
        }
    }
}

/// Where a row of a q or k projection (or an element of its bias) is stored; heads are `width` rows each, an even number.
///
/// llama.cpp's converter stores, for the llama architecture, rows 0, d/2, 1, d/2 + 1, ... of every head of width d, since
/// its rotation pairs neighbours while Hugging Face's pairs halves. Row i + h d/2 of a head is its stored row 2 i + h.
fn stored_row(row: usize, width: usize) -> usize {
    let (within, half) = (row % width, width / 2);
    row - within + 2 * (within % half) + within / half
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::{Encoding, Stored, stored_row};

    #[test]
    fn halves_are_stored_as_pairs() {
        // Two heads of width 6.
        let rows: Vec<usize> = (0..12).map(|row| stored_row(row, 6)).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn parts_are_parts_of_the_whole() {
        for (shape, head) in [([4, 2], Some(4)), ([4, 2], None), ([8, 1], Some(4))] {
            let bytes = (0..8_u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
            let stored = Stored { bytes, encoding: Encoding::Plain(DType::F32), shape: shape.to_vec(), head };
            let whole = stored.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let parts = [0..1, 1..3, 3..shape[0]].map(|rows| stored.rows(rows).unwrap()).concat();
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn whole_rows_move() {
        let bytes = [0.0_f32, 0.5, 2.0, 2.5, 1.0, 1.5, 3.0, 3.5].into_iter().flat_map(f32::to_le_bytes).collect();
        let stored = Stored { bytes, encoding: Encoding::Plain(DType::F32), shape: vec![4, 2], head: Some(4) };
        let rows = stored.tensor().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]);
    }
}
