//! A base as a GGUF file, laid out as llama.cpp's converter does.

use std::fs;
use std::path::Path;

use crate::base::{Architecture, Base, Written};
use crate::digest;
use crate::pool::Precision;
use crate::quantise::{self, BLOCK};
use crate::tensors::encode;
use crate::vocabulary::{BOS, CHAT_TEMPLATE, EOS, SPECIAL, vocabulary};

const ALIGNMENT: usize = 32;

/// Encoding of a GGUF's matrices; vectors are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufType {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 16-bit brain floating point.
    Bf16,
    /// 8 bits and a scale for 32 values.
    Q8_0,
    /// 4 bits and a scale for 32 values.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32 values.
    Q4_1,
}

impl GgufType {
    fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Bf16 => 30,
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        let blocks = |block: fn(&[f32]) -> Vec<u8>| {
            assert!(values.len().is_multiple_of(BLOCK), "rows must be whole blocks");
            values.chunks_exact(BLOCK).flat_map(block).collect()
        };
        match self {
            Self::F32 => encode(values, Precision::F32),
            Self::F16 => encode(values, Precision::F16),
            Self::Bf16 => encode(values, Precision::Bf16),
            Self::Q8_0 => blocks(quantise::q8_0),
            Self::Q4_0 => blocks(quantise::q4_0),
            Self::Q4_1 => blocks(quantise::q4_1),
        }
    }
}

impl Base {
    /// Writes one GGUF (version 3) with weights, tokenizer and chat template to `path`.
    pub fn write_gguf(&self, path: &Path, gguf_type: GgufType) -> Written {
        let bytes = self.gguf(gguf_type);
        fs::write(path, &bytes).expect("a writable folder");
        let stem = path.file_stem().expect("a named file").to_string_lossy().into_owned();
        let suffix = format!("{gguf_type:?}");
        let name = match stem.rsplit_once(['.', '-']) {
            Some((name, last)) if last.eq_ignore_ascii_case(&suffix) => name.to_owned(),
            _ => stem,
        };
        Written {
            name,
            sha256: digest::bytes(&bytes),
            vocabulary_sha256: digest::vocabulary(&vocabulary(self.vocab).0),
        }
    }

    fn gguf(&self, gguf_type: GgufType) -> Vec<u8> {
        let metadata = self.metadata();
        let mut infos = Vec::new();
        let mut data = Vec::new();
        let tensors = self.tensors();
        for (name, (shape, values)) in &tensors {
            let values = match heads(name) {
                Some(Heads::Query) if self.architecture == Architecture::Llama => permute(values, self.heads, shape),
                Some(Heads::Key) if self.architecture == Architecture::Llama => permute(values, self.kv_heads, shape),
                _ => values.clone(),
            };
            let encoding = if shape.len() == 1 { GgufType::F32 } else { gguf_type };
            string(&mut infos, &ggml_name(name));
            infos.extend((shape.len() as u32).to_le_bytes());
            infos.extend(shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
            infos.extend(encoding.code().to_le_bytes());
            infos.extend((data.len() as u64).to_le_bytes());
            data.extend(encoding.encode(&values));
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend((metadata.len() as u64).to_le_bytes());
        bytes.extend(metadata.concat());
        bytes.extend(infos);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(data);
        bytes
    }

    /// Every key with its value, encoded.
    fn metadata(&self) -> Vec<Vec<u8>> {
        let architecture = self.architecture.name();
        let (tokens, merges) = vocabulary(self.vocab);
        let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3_i32 } else { 1 });
        let merges: Vec<String> = merges.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
        let pre = match self.architecture {
            Architecture::Llama => "smollm",
            Architecture::Qwen2 => "qwen2",
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let mut all = vec![
            text("general.architecture", architecture),
            unsigned(&key("block_count"), self.layers as u32),
            unsigned(&key("context_length"), self.context as u32),
            unsigned(&key("embedding_length"), self.hidden as u32),
            unsigned(&key("feed_forward_length"), self.intermediate as u32),
            unsigned(&key("attention.head_count"), self.heads as u32),
            unsigned(&key("attention.head_count_kv"), self.kv_heads as u32),
            float(&key("rope.freq_base"), 10_000.0),
            float(&key("attention.layer_norm_rms_epsilon"), 1e-5),
            entry("tokenizer.ggml.add_bos_token", 7, &[0]),
            text("tokenizer.ggml.model", "gpt2"),
            text("tokenizer.ggml.pre", pre),
            strings("tokenizer.ggml.tokens", &tokens),
            strings("tokenizer.ggml.merges", &merges),
            array("tokenizer.ggml.token_type", 5, tokens.len(), types.flat_map(i32::to_le_bytes).collect()),
            unsigned("tokenizer.ggml.bos_token_id", BOS),
            unsigned("tokenizer.ggml.eos_token_id", EOS),
            unsigned("tokenizer.ggml.padding_token_id", 0),
            text("tokenizer.chat_template", CHAT_TEMPLATE),
        ];
        if self.architecture == Architecture::Llama {
            all.push(unsigned(&key("rope.dimension_count"), self.head_dim() as u32));
        }
        all
    }
}

enum Heads {
    Query,
    Key,
}

fn heads(name: &str) -> Option<Heads> {
    match name {
        _ if name.contains("q_proj") => Some(Heads::Query),
        _ if name.contains("k_proj") => Some(Heads::Key),
        _ => None,
    }
}

/// The converter's order of rotary rows: both halves of a head interleaved, row 0, d/2, 1, d/2 + 1, ...
fn permute(values: &[f32], heads: usize, shape: &[usize]) -> Vec<f32> {
    let columns = shape.get(1).copied().unwrap_or(1);
    let width = shape[0] / heads;
    let rows = (0..heads)
        .flat_map(|head| (0..width / 2).flat_map(move |i| [i, i + width / 2]).map(move |row| head * width + row));
    rows.flat_map(|row| values[row * columns..][..columns].to_vec()).collect()
}

fn ggml_name(name: &str) -> String {
    let pairs = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    pairs.into_iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

fn string(bytes: &mut Vec<u8>, string: &str) {
    bytes.extend((string.len() as u64).to_le_bytes());
    bytes.extend(string.as_bytes());
}

fn entry(key: &str, code: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    string(&mut bytes, key);
    bytes.extend(code.to_le_bytes());
    bytes.extend(value);
    bytes
}

fn unsigned(key: &str, value: u32) -> Vec<u8> {
    entry(key, 4, &value.to_le_bytes())
}

fn float(key: &str, value: f32) -> Vec<u8> {
    entry(key, 6, &value.to_le_bytes())
}

fn text(key: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    string(&mut bytes, value);
    entry(key, 8, &bytes)
}

fn array(key: &str, code: u32, count: usize, elements: Vec<u8>) -> Vec<u8> {
    let mut bytes = code.to_le_bytes().to_vec();
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend(elements);
    entry(key, 9, &bytes)
}

fn strings(key: &str, values: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| string(&mut bytes, value));
    array(key, 8, values.len(), bytes)
}
