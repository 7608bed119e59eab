//! `config.json` as transformers reads it.

use serde_json::{Value, json};
use tureen_engine::ModelConfig;

/// The configuration of a merged model. Its weights are f32 whatever the base's were.
pub(super) fn json(config: &ModelConfig) -> Value {
    let class = match config.architecture.as_str() {
        "qwen2" => "Qwen2ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    let eos = match config.eos_token_ids[..] {
        [one] => json!(one),
        _ => json!(config.eos_token_ids),
    };
    json!({
        "architectures": [class],
        "model_type": config.architecture,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": eos,
        "attention_bias": false,
        "mlp_bias": false,
        "torch_dtype": "float32",
    })
}
