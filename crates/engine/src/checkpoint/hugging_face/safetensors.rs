//! The head of a safetensors file, checked against the file's size before anything is allocated.
//!
//! Format: <https://huggingface.co/docs/safetensors/index>: a length (u64, little-endian), as many bytes of JSON, data.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use candle_core::DType;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Largest head, in bytes, as in the format's own library.
const MAX_HEAD: u64 = 100_000_000;

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct TensorInfo {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// From the start of the file, in bytes.
    pub(crate) start: u64,
    /// In bytes.
    pub(crate) size: usize,
}

/// Reads the head of a file of `length` bytes; the inner error is a fault of the file.
pub(crate) fn read(mut reader: impl Read, length: u64) -> io::Result<Result<BTreeMap<String, TensorInfo>, String>> {
    let mut prefix = [0; 8];
    if length < 8 {
        return Ok(Err("it ends within the length of its head".into()));
    }
    reader.read_exact(&mut prefix)?;
    let head = u64::from_le_bytes(prefix);
    if head > MAX_HEAD || head > length - 8 {
        return Ok(Err(format!("its head of {head} bytes is too large")));
    }
    let mut json = vec![0; head as usize];
    reader.read_exact(&mut json)?;
    Ok(parse(&json, 8 + head, length))
}

fn parse(json: &[u8], data: u64, length: u64) -> Result<BTreeMap<String, TensorInfo>, String> {
    let Unique(entries) = serde_json::from_slice(json).map_err(|error| format!("its head is broken: {error}"))?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        let dtype = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            other => return Err(format!("{name} is of type {other}, which is not supported")),
        };
        let (begin, end) = entry.data_offsets;
        let elements = entry.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let size = elements.and_then(|elements| elements.checked_mul(dtype.size_in_bytes())).filter(|size| *size > 0);
        let fits = end <= length - data && begin <= end;
        let Some(size) = size.filter(|size| fits && end - begin == *size as u64) else {
            return Err(format!("{name} of shape {:?} does not fill bytes {begin} to {end}", entry.shape));
        };
        tensors.insert(name, TensorInfo { dtype, shape: entry.shape, start: data + begin, size });
    }
    no_overlap(&tensors)?;
    Ok(tensors)
}

fn no_overlap(tensors: &BTreeMap<String, TensorInfo>) -> Result<(), String> {
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|(_, tensor)| tensor.start);
    let overlap = by_start.windows(2).find(|pair| pair[0].1.start + pair[0].1.size as u64 > pair[1].1.start);
    overlap.map_or(Ok(()), |pair| Err(format!("{} and {} overlap", pair[0].0, pair[1].0)))
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The head's tensors; a name that occurs twice is an error, where a plain map would keep the last.
struct Unique(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<de::IgnoredAny>()?;
            } else if entries.insert(name.clone(), map.next_value()?).is_some() {
                return Err(de::Error::custom(format!("{name} occurs twice")));
            }
        }
        Ok(Unique(entries))
    }
}
