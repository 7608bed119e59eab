//! The configuration out of the metadata.

use crate::checkpoint::CheckpointError;
use crate::checkpoint::gguf::GgufError;
use crate::checkpoint::gguf::header::Header;
use crate::model_config::{ModelConfig, RopeScaling};

/// The configuration, but for what only a tensor tells (scaled rotary frequencies).
///
/// # Errors
/// Missing or impossible keys as `GgufError`, other architectures and extensions as `Unsupported`.
pub(crate) fn read(header: &Header) -> Result<ModelConfig, ConfigError> {
    let metadata = &header.metadata;
    let architecture =
        metadata.string("general.architecture")?.ok_or_else(|| GgufError::MissingKey("general.architecture".into()))?;
    if !matches!(architecture, "llama" | "qwen2") {
        return Err(ConfigError::Unsupported(format!("architecture {architecture} (llama and qwen2 are)")));
    }
    let key = |name: &str| format!("{architecture}.{name}");
    if metadata.optional_size(&key("expert_count")).is_ok_and(|experts| experts.is_some()) {
        return Err(ConfigError::Unsupported("a mixture of experts".into()));
    }
    if metadata.optional_size("split.count").is_ok_and(|parts| parts.is_some_and(|parts| parts > 1)) {
        return Err(ConfigError::Unsupported("a GGUF split into several files".into()));
    }
    let hidden_size = metadata.size(&key("embedding_length"))?;
    let num_attention_heads = metadata.size(&key("attention.head_count"))?;
    let rotary = metadata.optional_size(&key("rope.dimension_count"))?;
    let head_dim =
        metadata.optional_size(&key("attention.key_length"))?.or(rotary).unwrap_or(hidden_size / num_attention_heads);
    if rotary.is_some_and(|rotary| rotary != head_dim) {
        return Err(ConfigError::Unsupported("a rotation of a part of each head".into()));
    }
    let vocab_size = header.tensors.get("token_embd.weight").and_then(|tensor| tensor.shape.first().copied());
    let has = |name: &str| header.tensors.contains_key(name);
    let mut eos: Vec<u32> = [metadata.id("tokenizer.ggml.eos_token_id")?, metadata.id("tokenizer.ggml.eot_token_id")?]
        .into_iter()
        .flatten()
        .collect();
    eos.sort_unstable();
    eos.dedup();
    Ok(ModelConfig {
        architecture: architecture.to_owned(),
        hidden_size,
        intermediate_size: metadata.size(&key("feed_forward_length"))?,
        num_hidden_layers: metadata.size(&key("block_count"))?,
        num_attention_heads,
        num_key_value_heads: metadata.optional_size(&key("attention.head_count_kv"))?.unwrap_or(num_attention_heads),
        head_dim,
        vocab_size: vocab_size.ok_or_else(|| ConfigError::Unsupported("a file without token_embd.weight".into()))?,
        max_position_embeddings: metadata.size(&key("context_length"))?,
        rms_norm_eps: metadata
            .number(&key("attention.layer_norm_rms_epsilon"))?
            .ok_or_else(|| GgufError::MissingKey(key("attention.layer_norm_rms_epsilon")))?,
        rope_theta: metadata.number(&key("rope.freq_base"))?.unwrap_or(10_000.0),
        rope_scaling: scaling(header, &key)?,
        attention_bias: has("blk.0.attn_q.bias"),
        tie_word_embeddings: !has("output.weight"),
        bos_token_id: metadata.id("tokenizer.ggml.bos_token_id")?,
        eos_token_ids: eos,
    })
}

fn scaling(header: &Header, key: &impl Fn(&str) -> String) -> Result<Option<RopeScaling>, ConfigError> {
    let metadata = &header.metadata;
    match metadata.string(&key("rope.scaling.type"))? {
        None | Some("none") => Ok(None),
        Some("linear") => {
            let factor = metadata.number(&key("rope.scaling.factor"))?;
            Ok(factor.map(|factor| RopeScaling::Linear { factor }))
        }
        Some(other) => Err(ConfigError::Unsupported(format!("rope scaling {other}"))),
    }
}

/// Why there is no configuration.
pub(crate) enum ConfigError {
    Gguf(GgufError),
    Unsupported(String),
}

impl From<GgufError> for ConfigError {
    fn from(error: GgufError) -> Self {
        Self::Gguf(error)
    }
}

impl ConfigError {
    pub(crate) fn at(self, path: &std::path::Path) -> CheckpointError {
        match self {
            Self::Gguf(source) => CheckpointError::Gguf { path: path.to_owned(), source },
            Self::Unsupported(what) => CheckpointError::Unsupported(what),
        }
    }
}
