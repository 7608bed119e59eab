//! `adapter_model.safetensors`.
//!
//! Written by hand, since the safetensors crate takes metadata in an order that changes from run to run: one adapter
//! is to have one hash.

use half::bf16;
use serde_json::{Map, Value, json};

use super::{Adapter, AdapterError, Precision};

pub(super) fn bytes(adapter: &Adapter, precision: Precision) -> Result<Vec<u8>, AdapterError> {
    let mut metadata = Map::from_iter([("format".to_owned(), json!("pt"))]);
    metadata.extend(adapter.metadata.iter().map(|(key, value)| (key.clone(), json!(value))));
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
    let mut data = Vec::new();
    for (module, (a, b, in_features, out_features)) in &adapter.modules {
        let rank = adapter.rank;
        for (factor, values, shape) in [("lora_A", a, [rank, *in_features]), ("lora_B", b, [*out_features, rank])] {
            let start = data.len();
            let dtype = append(&mut data, values, precision)
                .ok_or_else(|| AdapterError::NotFinite { module: module.clone(), factor })?;
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] });
            header.insert(format!("base_model.model.{module}.{factor}.weight"), entry);
        }
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Spaces up to a multiple of 8, so that the data are aligned in a map.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    bytes.append(&mut data);
    Ok(bytes)
}

/// The type's name in the header; `None` for a value that is not finite once stored.
fn append(data: &mut Vec<u8>, values: &[f32], precision: Precision) -> Option<&'static str> {
    match precision {
        Precision::F32 => {
            data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            values.iter().all(|v| v.is_finite()).then_some("F32")
        }
        Precision::Bf16 => {
            let rounded = || values.iter().map(|v| bf16::from_f32(*v));
            data.extend(rounded().flat_map(bf16::to_le_bytes));
            rounded().all(bf16::is_finite).then_some("BF16")
        }
    }
}
