//! Which tensors a configuration demands, and whether a checkpoint has them.

use std::collections::BTreeMap;

use crate::checkpoint::CheckpointError;
use crate::model_config::ModelConfig;

/// Shapes by Hugging Face name.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// Problems listed before the rest is only counted.
const LISTED: usize = 50;

/// Every tensor of `config` with its shape; a projection is (out, in).
fn expected(config: &ModelConfig) -> Shapes {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let mut shapes = Shapes::new();
    shapes.insert("model.embed_tokens.weight".into(), vec![config.vocab_size, hidden]);
    shapes.insert("model.norm.weight".into(), vec![hidden]);
    if !config.tie_word_embeddings {
        shapes.insert("lm_head.weight".into(), vec![config.vocab_size, hidden]);
    }
    for layer in 0..config.num_hidden_layers {
        let mut insert = |name: &str, shape: &[usize]| {
            shapes.insert(format!("model.layers.{layer}.{name}"), shape.to_vec());
        };
        insert("input_layernorm.weight", &[hidden]);
        insert("post_attention_layernorm.weight", &[hidden]);
        insert("self_attn.q_proj.weight", &[queries, hidden]);
        insert("self_attn.k_proj.weight", &[keys, hidden]);
        insert("self_attn.v_proj.weight", &[keys, hidden]);
        insert("self_attn.o_proj.weight", &[hidden, queries]);
        insert("mlp.gate_proj.weight", &[wide, hidden]);
        insert("mlp.up_proj.weight", &[wide, hidden]);
        insert("mlp.down_proj.weight", &[hidden, wide]);
        if config.attention_bias {
            insert("self_attn.q_proj.bias", &[queries]);
            insert("self_attn.k_proj.bias", &[keys]);
            insert("self_attn.v_proj.bias", &[keys]);
            if config.architecture == "llama" {
                insert("self_attn.o_proj.bias", &[hidden]);
            }
        }
    }
    shapes
}

/// Compares `found` with what `config` demands.
///
/// # Errors
/// [`CheckpointError::Weights`] with every missing, additional or misshapen tensor.
pub(crate) fn check(config: &ModelConfig, found: &Shapes) -> Result<(), CheckpointError> {
    // A layer has nine tensors at least; without this a lying layer count would make `expected` allocate.
    if config.num_hidden_layers > found.len() {
        let (layers, tensors) = (config.num_hidden_layers, found.len());
        return Err(CheckpointError::Weights(vec![format!(
            "{layers} layers are announced, {tensors} tensors present"
        )]));
    }
    let expected = expected(config);
    let mut problems = Vec::new();
    for (name, shape) in &expected {
        match found.get(name) {
            None => problems.push(format!("{name} is missing")),
            Some(other) if other != shape => problems.push(format!("{name} is {other:?}, expected {shape:?}")),
            Some(_) => {}
        }
    }
    problems.extend(found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{name} is unknown")));
    if problems.is_empty() {
        return Ok(());
    }
    if problems.len() > LISTED {
        let more = problems.len() - LISTED;
        problems.truncate(LISTED);
        problems.push(format!("and {more} more"));
    }
    Err(CheckpointError::Weights(problems))
}
