//! Tensors as safetensors files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use crate::pool::Precision;

/// Shape and values by name.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Little-endian bytes of `values`.
pub(crate) fn encode(values: &[f32], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Precision::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        Precision::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
    }
}

/// Writes one safetensors file.
pub(crate) fn write(path: &Path, tensors: &Tensors, precision: Precision) {
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::Bf16 => Dtype::BF16,
    };
    let encoded: Vec<_> =
        tensors.iter().map(|(name, (shape, values))| (name, shape.clone(), encode(values, precision))).collect();
    let views = encoded.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).expect("the bytes fill the shape"))
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    let bytes = serialize(views, Some(metadata)).expect("tensors without faults");
    fs::write(path, bytes).expect("a writable folder");
}

/// Spreads `tensors` over `shards` files of `dir`; returns the file of every tensor.
pub(crate) fn write_shards(
    dir: &Path,
    tensors: &Tensors,
    shards: usize,
    precision: Precision,
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for shard in 0..shards {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", shard + 1),
        };
        let part: Tensors = tensors
            .iter()
            .enumerate()
            .filter(|(index, _)| index % shards == shard)
            .map(|(_, (name, tensor))| (name.clone(), tensor.clone()))
            .collect();
        write(&dir.join(&name), &part, precision);
        files.extend(part.into_keys().map(|tensor| (tensor, name.clone())));
    }
    files
}
