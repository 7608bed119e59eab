//! A base as a Hugging Face directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::base::{Architecture, Base, Written};
use crate::pool::Precision;
use crate::vocabulary::{BOS, CHAT_TEMPLATE, EOS, SPECIAL, vocabulary};
use crate::{digest, tensors};

const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Base {
    /// Writes `config.json`, weights in f32, `tokenizer.json` and `tokenizer_config.json` to `dir`, which is made.
    pub fn write(&self, dir: &Path) -> Written {
        self.write_as(dir, Precision::F32)
    }

    /// As [`Self::write`], with weights in `precision`.
    pub fn write_as(&self, dir: &Path, precision: Precision) -> Written {
        fs::create_dir_all(dir).expect("a writable folder");
        let weights = tensors::write_shards(dir, &self.tensors(), self.shards, precision);
        if self.shards > 1 {
            write_json(&dir.join("model.safetensors.index.json"), &json!({"metadata": {}, "weight_map": weights}));
        }
        write_json(&dir.join("config.json"), &self.config());
        write_json(&dir.join("tokenizer.json"), &self.tokenizer());
        write_json(&dir.join("tokenizer_config.json"), &tokenizer_config(self.context));
        let mut files: BTreeSet<String> = weights.into_values().collect();
        files.extend(["config.json".to_owned(), "tokenizer.json".to_owned()]);
        Written {
            name: dir.file_name().expect("a named folder").to_string_lossy().into_owned(),
            sha256: digest::files(dir, &files.into_iter().collect::<Vec<_>>()),
            vocabulary_sha256: digest::vocabulary(&vocabulary(self.vocab).0),
        }
    }

    fn config(&self) -> Value {
        let class = match self.architecture {
            Architecture::Llama => "LlamaForCausalLM",
            Architecture::Qwen2 => "Qwen2ForCausalLM",
        };
        json!({
            "architectures": [class],
            "model_type": self.architecture.name(),
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.context,
            "max_window_layers": self.layers,
            "sliding_window": null,
            "use_sliding_window": false,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "rope_scaling": null,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "tie_word_embeddings": self.tie,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "torch_dtype": "float32",
        })
    }

    fn tokenizer(&self) -> Value {
        let (tokens, merges) = vocabulary(self.vocab);
        let ids: serde_json::Map<String, Value> =
            tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
        let added: Vec<Value> = SPECIAL.iter().enumerate().map(|(id, token)| json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
        })).collect();
        let byte_level =
            |cut: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cut});
        let (normalizer, cut) = match self.architecture {
            Architecture::Llama => (Value::Null, json!({"type": "Digits", "individual_digits": true})),
            Architecture::Qwen2 => (
                json!({"type": "NFC"}),
                json!({"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": false}),
            ),
        };
        let by_expression = self.architecture == Architecture::Llama;
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, byte_level(by_expression)]},
            "post_processor": null,
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": ids, "merges": merges,
            },
        })
    }
}

fn tokenizer_config(context: usize) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": false,
        "add_prefix_space": false,
        "bos_token": SPECIAL[BOS as usize],
        "eos_token": SPECIAL[EOS as usize],
        "pad_token": SPECIAL[0],
        "chat_template": CHAT_TEMPLATE,
    })
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    let text = serde_json::to_string_pretty(value).expect("plain JSON");
    fs::write(path, text + "\n").expect("a writable folder");
}
