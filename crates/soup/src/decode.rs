//! From the bytes of a safetensors file to `f32`.

use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::limits;

/// Where a tensor lies in its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    range: Range<usize>,
}

/// Reads the header of a safetensors file: every tensor by name.
///
/// # Errors
/// In words, when the header is not well-formed or does not describe the file's bytes exactly.
pub(crate) fn header(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let length = bytes.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
    if length > limits::SAFETENSORS_HEADER_BYTES {
        return Err(format!("the header claims {length} bytes, {} are allowed", limits::SAFETENSORS_HEADER_BYTES));
    }
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    // The length of the header stands in 8 bytes before it.
    let start = header.checked_add(8).ok_or("the header's length overflows")?;
    let data = bytes.len().checked_sub(start).ok_or("the file ends in its header")?;
    // Every name once, and their data without gaps up to the end: a name that came twice would leave a gap.
    if metadata.data_len() != data {
        return Err(format!("the header describes {} bytes of data, the file has {data}", metadata.data_len()));
    }
    let entry = |info: &safetensors::tensor::TensorInfo| Entry {
        dtype: info.dtype,
        shape: info.shape.clone(),
        range: info.data_offsets.0 + start..info.data_offsets.1 + start,
    };
    Ok(metadata.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect())
}

impl Entry {
    /// The values in row-major order; `bytes` is the whole file.
    ///
    /// # Errors
    /// In words, for another type than F32, F16 and BF16.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let bytes = bytes.get(self.range.clone()).ok_or("its data is outside the file")?;
        match self.dtype {
            Dtype::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
            Dtype::F16 => Ok(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
            Dtype::BF16 => Ok(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
            other => Err(format!("has type {other:?}: only F32, F16 and BF16 are supported")),
        }
    }

    /// Copies values from `first` on, of a tensor in bf16; `false` when it is none or has fewer.
    pub(crate) fn copy_bf16(&self, bytes: &[u8], first: usize, to: &mut [bf16]) -> bool {
        let start = self.range.start + first * size_of::<bf16>();
        let end = start + size_of_val(to);
        let Some(bytes) = bytes.get(start..end).filter(|_| self.dtype == Dtype::BF16 && end <= self.range.end) else {
            return false;
        };
        to.iter_mut().zip(bytes.as_chunks::<2>().0).for_each(|(to, bytes)| *to = bf16::from_le_bytes(*bytes));
        true
    }

    /// As [`Self::decode`], but refuses NaN and infinity.
    pub(crate) fn decode_finite(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let values = self.decode(bytes)?;
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(at) => Err(format!("value {at} is {}: every weight must be finite", values[at])),
        }
    }
}
