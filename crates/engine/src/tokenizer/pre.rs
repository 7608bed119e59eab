//! How a text is cut before merging, by the name that llama.cpp gives it (`tokenizer.ggml.pre`).

use serde_json::{Value, json};

/// GPT-2's expression but for its last branch, which takes what the others leave.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The parts of a byte-level tokenizer that its name decides.
pub(crate) struct Pre {
    pub(crate) pre_tokenizer: Value,
    pub(crate) normalizer: Value,
    /// Whether a piece that is a token is taken whole, whatever the merges say.
    pub(crate) ignore_merges: bool,
    /// Whether a begin token is added where the file does not say.
    pub(crate) add_bos: bool,
}

/// The cut named `name`, or none for an unknown one.
pub(crate) fn named(name: &str) -> Option<Pre> {
    let plain = |cuts: Vec<Value>| Pre {
        pre_tokenizer: sequence(cuts),
        normalizer: Value::Null,
        ignore_merges: false,
        add_bos: false,
    };
    Some(match name {
        // Every digit by itself, then GPT-2's expression.
        "smollm" | "starcoder" | "refact" | "command-r" => {
            plain(vec![json!({"type": "Digits", "individual_digits": true}), byte_level(true)])
        }
        "gpt-2" | "olmo" | "mpt" => plain(vec![byte_level(true)]),
        "default" => {
            let cuts = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];
            plain(cuts.iter().map(|cut| split(cut)).chain([byte_level(false)]).collect())
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => {
            Pre { ignore_merges: true, add_bos: true, ..plain(vec![split(LLAMA3), byte_level(false)]) }
        }
        "qwen2" | "deepseek-r1-qwen" => {
            Pre { normalizer: json!({"type": "NFC"}), ..plain(vec![split(QWEN2), byte_level(false)]) }
        }
        _ => return None,
    })
}

fn sequence(mut cuts: Vec<Value>) -> Value {
    match cuts.len() {
        1 => cuts.remove(0),
        _ => json!({"type": "Sequence", "pretokenizers": cuts}),
    }
}

fn split(expression: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false})
}

fn byte_level(cut: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cut})
}
