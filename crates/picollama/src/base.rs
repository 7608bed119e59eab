//! What a tiny base model is.

use std::collections::BTreeMap;

use crate::random::Random;

/// Family of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// LLaMA: no biases.
    Llama,
    /// Qwen2: biases on q, k and v.
    Qwen2,
}

impl Architecture {
    /// The name in `config.json` and in a GGUF.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }
}

/// A tiny base model: sizes and the seed of its weights.
#[derive(Debug, Clone)]
pub struct Base {
    /// Family of the network.
    pub architecture: Architecture,
    /// Width of the residual stream; a multiple of `heads`, and of 32 for quantised GGUFs.
    pub hidden: usize,
    /// Width of the feed-forward network; a multiple of 32 for quantised GGUFs.
    pub intermediate: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Rows of the embedding, 259 at least; the tokenizer has 320 tokens at most.
    pub vocab: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Whether the output projection is the embedding.
    pub tie: bool,
    /// Safetensors files of a directory.
    pub shards: usize,
    /// Seed of the weights.
    pub seed: u64,
}

/// What a pool must say about the base that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The directory's name, or the GGUF's without its ending and quantisation.
    pub name: String,
    /// Fingerprint of the files, 64 hexadecimal digits.
    pub sha256: String,
    /// Fingerprint of the vocabulary, 64 hexadecimal digits.
    pub vocabulary_sha256: String,
}

impl Base {
    /// A llama with tied embeddings, 64 wide, of two layers.
    pub fn llama() -> Self {
        Self {
            architecture: Architecture::Llama,
            hidden: 64,
            intermediate: 96,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            vocab: 320,
            context: 512,
            tie: true,
            shards: 1,
            seed: 0,
        }
    }

    /// A qwen2 of the same sizes with an output projection of its own.
    pub fn qwen2() -> Self {
        Self { architecture: Architecture::Qwen2, tie: false, ..Self::llama() }
    }

    /// Every weight by its Hugging Face name: shape and row-major values.
    ///
    /// Scaled so that each projection keeps unit variance and no token's logit dominates.
    pub fn tensors(&self) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        self.shapes()
            .into_iter()
            .map(|(name, shape)| (name.clone(), (shape.clone(), self.weight(&name, &shape))))
            .collect()
    }

    /// Width of a head.
    pub(crate) fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    pub(crate) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let (hidden, keys) = (self.hidden, self.kv_heads * self.head_dim());
        let mut shapes = BTreeMap::new();
        shapes.insert("model.embed_tokens.weight".to_owned(), vec![self.vocab, hidden]);
        shapes.insert("model.norm.weight".to_owned(), vec![hidden]);
        if !self.tie {
            shapes.insert("lm_head.weight".to_owned(), vec![self.vocab, hidden]);
        }
        for layer in 0..self.layers {
            let mut insert =
                |name: &str, shape: Vec<usize>| shapes.insert(format!("model.layers.{layer}.{name}"), shape);
            insert("input_layernorm.weight", vec![hidden]);
            insert("post_attention_layernorm.weight", vec![hidden]);
            insert("self_attn.q_proj.weight", vec![hidden, hidden]);
            insert("self_attn.k_proj.weight", vec![keys, hidden]);
            insert("self_attn.v_proj.weight", vec![keys, hidden]);
            insert("self_attn.o_proj.weight", vec![hidden, hidden]);
            insert("mlp.gate_proj.weight", vec![self.intermediate, hidden]);
            insert("mlp.up_proj.weight", vec![self.intermediate, hidden]);
            insert("mlp.down_proj.weight", vec![hidden, self.intermediate]);
            if self.architecture == Architecture::Qwen2 {
                insert("self_attn.q_proj.bias", vec![hidden]);
                insert("self_attn.k_proj.bias", vec![keys]);
                insert("self_attn.v_proj.bias", vec![keys]);
            }
        }
        shapes
    }

    fn weight(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let mut random = Random::new(self.seed, name);
        let count = shape.iter().product();
        match shape {
            _ if name.ends_with("bias") => random.normal(count, 0.1),
            [_] => random.normal(count, 0.1).into_iter().map(|value| 1.0 + value).collect(),
            // Small against the residual stream, or a tied output would only repeat the input.
            _ if name.starts_with("model.embed") || name.starts_with("lm_head") => random.normal(count, 0.2),
            _ => random.normal(count, 1.0 / (shape[1] as f32).sqrt()),
        }
    }
}
