//! The configuration out of `config.json`, with transformers' defaults.

use serde_json::Value;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::hugging_face::document::Document;
use crate::checkpoint::hugging_face::rope;
use crate::model_config::ModelConfig;

/// `generation`: `generation_config.json`, whose end tokens count before the configuration's.
pub(crate) fn read(document: &Document, generation: Option<&Document>) -> Result<ModelConfig, CheckpointError> {
    let architecture = match document.value["model_type"].as_str() {
        Some(known @ ("llama" | "qwen2")) => known,
        other => {
            let other = other.unwrap_or("without a name");
            return Err(CheckpointError::Unsupported(format!("architecture {other} (llama and qwen2 are)")));
        }
    };
    refuse_extensions(&document.value)?;
    let hidden_size = required(document, "hidden_size")?;
    let num_attention_heads = required(document, "num_attention_heads")?;
    let max_position_embeddings = size(document, "max_position_embeddings")?.unwrap_or(2048);
    let (rope_theta, rope_scaling) = rope::read(document, max_position_embeddings)?;
    Ok(ModelConfig {
        architecture: architecture.to_owned(),
        hidden_size,
        intermediate_size: required(document, "intermediate_size")?,
        num_hidden_layers: required(document, "num_hidden_layers")?,
        num_attention_heads,
        num_key_value_heads: size(document, "num_key_value_heads")?.unwrap_or(num_attention_heads),
        head_dim: size(document, "head_dim")?.unwrap_or(hidden_size / num_attention_heads),
        vocab_size: required(document, "vocab_size")?,
        max_position_embeddings,
        rms_norm_eps: number(document, &document.value["rms_norm_eps"], "rms_norm_eps")?.unwrap_or(1e-6),
        rope_theta,
        rope_scaling,
        attention_bias: architecture == "qwen2" || flag(&document.value, "attention_bias"),
        tie_word_embeddings: flag(&document.value, "tie_word_embeddings"),
        bos_token_id: ids(document, "bos_token_id")?.first().copied(),
        eos_token_ids: end_tokens(document, generation)?,
    })
}

/// What would change the computation and is not computed here.
fn refuse_extensions(value: &Value) -> Result<(), CheckpointError> {
    let refuse = |what: &str| Err(CheckpointError::Unsupported(what.to_owned()));
    match value["hidden_act"].as_str() {
        None | Some("silu" | "swish") => {}
        Some(other) => return refuse(&format!("activation {other}")),
    }
    if flag(value, "mlp_bias") {
        return refuse("a bias in the feed-forward network");
    }
    if flag(value, "use_sliding_window") {
        return refuse("sliding-window attention");
    }
    if value.get("quantization_config").is_some_and(|quantization| !quantization.is_null()) {
        return refuse("a quantised Hugging Face directory");
    }
    match value["partial_rotary_factor"].as_f64() {
        None | Some(1.0) => Ok(()),
        Some(_) => refuse("a rotation of a part of each head"),
    }
}

fn end_tokens(document: &Document, generation: Option<&Document>) -> Result<Vec<u32>, CheckpointError> {
    let mut eos = generation.map(|generation| ids(generation, "eos_token_id")).transpose()?.unwrap_or_default();
    if eos.is_empty() {
        eos = ids(document, "eos_token_id")?;
    }
    eos.sort_unstable();
    eos.dedup();
    Ok(eos)
}

/// One id, a list of ids or none.
fn ids(document: &Document, key: &str) -> Result<Vec<u32>, CheckpointError> {
    let id = |value: &Value| {
        value
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| document.error(format!("{key} should hold token ids, not {value}")))
    };
    match &document.value[key] {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(id).collect(),
        value => Ok(vec![id(value)?]),
    }
}

fn required(document: &Document, key: &str) -> Result<usize, CheckpointError> {
    size(document, key)?.ok_or_else(|| document.error(format!("{key} is missing")))
}

fn size(document: &Document, key: &str) -> Result<Option<usize>, CheckpointError> {
    let value = &document.value[key];
    if value.is_null() {
        return Ok(None);
    }
    let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    size.map(Some).ok_or_else(|| document.error(format!("{key} should hold a count, not {value}")))
}

/// A finite number above zero, or none for null.
pub(crate) fn number(document: &Document, value: &Value, key: &str) -> Result<Option<f64>, CheckpointError> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
    number.map(Some).ok_or_else(|| document.error(format!("{key} should hold a number above zero, not {value}")))
}

fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or(false)
}
