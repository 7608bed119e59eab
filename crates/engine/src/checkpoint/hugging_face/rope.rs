//! Rotary frequencies: `rope_theta` and `rope_scaling`, or both in `rope_parameters` as transformers 5 writes them.

use serde_json::Value;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::hugging_face::config::number;
use crate::checkpoint::hugging_face::document::Document;
use crate::model_config::RopeScaling;

/// Base and scaling; `context` stands in for a missing `original_max_position_embeddings`.
pub(crate) fn read(document: &Document, context: usize) -> Result<(f64, Option<RopeScaling>), CheckpointError> {
    let config = &document.value;
    let scaling = [&config["rope_parameters"], &config["rope_scaling"]].into_iter().find(|value| value.is_object());
    let inner = scaling.map_or(&Value::Null, |scaling| &scaling["rope_theta"]);
    let theta = if inner.is_null() { &config["rope_theta"] } else { inner };
    let theta = number(document, theta, "rope_theta")?.unwrap_or(10_000.0);
    let Some(scaling) = scaling else { return Ok((theta, None)) };

    let kind = scaling["rope_type"].as_str().or_else(|| scaling["type"].as_str()).unwrap_or("default");
    let need = |key: &str| {
        number(document, &scaling[key], key)?.ok_or_else(|| document.error(format!("rope scaling lacks {key}")))
    };
    let scaling = match kind {
        "default" => None,
        "linear" => Some(RopeScaling::Linear { factor: need("factor")? }),
        "llama3" => {
            let original = "original_max_position_embeddings";
            Some(RopeScaling::Llama3 {
                factor: need("factor")?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original_max_position_embeddings: number(document, &scaling[original], original)?
                    .unwrap_or(context as f64),
            })
        }
        other => return Err(CheckpointError::Unsupported(format!("rope scaling {other}"))),
    };
    Ok((theta, scaling))
}
