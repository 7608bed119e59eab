//! The head of a GGUF file: metadata and the list of tensors.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Every count, length and offset is checked
//! against the file's size before anything is allocated for it.

use std::collections::BTreeMap;
use std::io::Read;

use candle_core::quantized::GgmlDType;

use crate::checkpoint::gguf::GgufError;
use crate::checkpoint::gguf::cursor::Cursor;
use crate::checkpoint::gguf::dtype;
use crate::checkpoint::gguf::metadata::Metadata;
use crate::checkpoint::gguf::value::Value;

const MAX_KEYS: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 16;
const MAX_DIMENSIONS: u32 = 4;

#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
}

#[derive(Debug)]
pub(crate) struct TensorInfo {
    pub(crate) dtype: GgmlDType,
    /// Slowest dimension first, as everywhere but in the file.
    pub(crate) shape: Vec<usize>,
    /// From the start of the file, in bytes.
    pub(crate) start: u64,
    /// In bytes.
    pub(crate) size: usize,
}

impl Header {
    /// Reads the head of a file of `length` bytes.
    pub(crate) fn read<R: Read>(reader: R, length: u64) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(reader, length);
        let magic = cursor.array("the magic")?;
        if magic != *b"GGUF" {
            return Err(GgufError::Magic(magic));
        }
        let version = cursor.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensors = count(&mut cursor, "tensors", MAX_TENSORS)?;
        let keys = count(&mut cursor, "metadata keys", MAX_KEYS)?;
        let metadata = read_metadata(&mut cursor, keys)?;
        let tensors = read_tensors(&mut cursor, tensors)?;
        let data = data_start(&metadata, cursor.position())?;
        let tensors = place(tensors, data, length)?;
        Ok(Self { metadata, tensors })
    }
}

fn count<R: Read>(cursor: &mut Cursor<R>, what: &'static str, limit: u64) -> Result<u64, GgufError> {
    let count = cursor.u64(what)?;
    if count > limit { Err(GgufError::TooMany { what, count, limit }) } else { Ok(count) }
}

fn read_metadata<R: Read>(cursor: &mut Cursor<R>, count: u64) -> Result<Metadata, GgufError> {
    let mut metadata = Metadata::default();
    for _ in 0..count {
        let key = cursor.string("a metadata key")?;
        let value = Value::read(cursor)?;
        if metadata.0.insert(key.clone(), value).is_some() {
            return Err(GgufError::Duplicate(key));
        }
    }
    Ok(metadata)
}

/// The tensors with their starts still counted from the data section.
fn read_tensors<R: Read>(cursor: &mut Cursor<R>, count: u64) -> Result<BTreeMap<String, TensorInfo>, GgufError> {
    let mut tensors = BTreeMap::new();
    for _ in 0..count {
        let name = cursor.string("a tensor's name")?;
        let rank = cursor.u32("a tensor's rank")?;
        if rank > MAX_DIMENSIONS {
            return Err(GgufError::TooMany { what: "dimensions", count: rank.into(), limit: MAX_DIMENSIONS.into() });
        }
        let dimensions = (0..rank).map(|_| cursor.u64("a dimension")).collect::<Result<Vec<_>, _>>()?;
        let code = cursor.u32("a tensor's type")?;
        let start = cursor.u64("a tensor's offset")?;
        let dtype = dtype::from_code(code).ok_or_else(|| GgufError::TensorType { name: name.clone(), code })?;
        let Some((shape, size)) = extent(&dimensions, dtype) else {
            return Err(GgufError::Dimensions { name, dimensions });
        };
        if tensors.insert(name.clone(), TensorInfo { dtype, shape, start, size }).is_some() {
            return Err(GgufError::Duplicate(name));
        }
    }
    Ok(tensors)
}

/// Shape and bytes of a tensor; none if a dimension is zero, the product overflows or rows do not fill whole blocks.
fn extent(dimensions: &[u64], dtype: GgmlDType) -> Option<(Vec<usize>, usize)> {
    let mut shape = dimensions.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
    let row = *shape.first()?;
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    if elements == 0 || row % dtype.block_size() != 0 {
        return None;
    }
    shape.reverse();
    Some((shape, (elements / dtype.block_size()).checked_mul(dtype.type_size())?))
}

fn data_start(metadata: &Metadata, position: u64) -> Result<u64, GgufError> {
    let alignment = metadata.optional_size("general.alignment")?.unwrap_or(32) as u64;
    Ok(position.div_ceil(alignment) * alignment)
}

/// Moves the starts by `data` and refuses tensors that leave the file or share bytes.
fn place(
    mut tensors: BTreeMap<String, TensorInfo>,
    data: u64,
    length: u64,
) -> Result<BTreeMap<String, TensorInfo>, GgufError> {
    for (name, tensor) in &mut tensors {
        let (offset, size) = (tensor.start, tensor.size as u64);
        let end = data.checked_add(offset).and_then(|start| start.checked_add(size));
        if end.is_none_or(|end| end > length) {
            return Err(GgufError::Placement { name: name.clone(), offset, size });
        }
        tensor.start += data;
    }
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|(_, tensor)| tensor.start);
    for pair in by_start.windows(2) {
        if pair[0].1.start + pair[0].1.size as u64 > pair[1].1.start {
            return Err(GgufError::Overlap(pair[0].0.clone(), pair[1].0.clone()));
        }
    }
    Ok(tensors)
}
