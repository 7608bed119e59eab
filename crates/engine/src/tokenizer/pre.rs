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

#[cfg(test)]
mod tests {
    use tokenizers::pre_tokenizers::PreTokenizerWrapper;
    use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::named;

    /// The pieces of `text`, as written in it.
    fn cut<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let cut: PreTokenizerWrapper = serde_json::from_value(named(name).unwrap().pre_tokenizer).unwrap();
        let mut pieces = PreTokenizedString::from(text);
        cut.pre_tokenize(&mut pieces).unwrap();
        let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        pieces.into_iter().map(|(_, (start, end), _)| &text[start..end]).collect()
    }

    // Expected pieces: the expressions of llama.cpp, run by Python's `regex`.

    const TEXT: &str = "It's 1234 o'clock,  DON'T\n\n x!=y";

    #[test]
    fn gpt2_keeps_numbers_together() {
        let expected = ["It", "'s", " 1234", " o", "'", "clock", ",", " ", " DON", "'", "T", "\n\n", " x", "!=", "y"];
        assert_eq!(cut("gpt-2", TEXT), expected);
    }

    #[test]
    fn smollm_takes_digits_one_by_one() {
        let expected = [
            "It", "'s", " ", "1", "2", "3", "4", " o", "'", "clock", ",", " ", " DON", "'", "T", "\n\n", " x", "!=",
            "y",
        ];
        assert_eq!(cut("smollm", TEXT), expected);
    }

    #[test]
    fn llama3_takes_digits_by_three() {
        let expected = ["It", "'s", " ", "123", "4", " o", "'clock", ",", " ", " DON", "'T", "\n\n", " x", "!=", "y"];
        assert_eq!(cut("llama-bpe", TEXT), expected);
    }

    #[test]
    fn qwen2_takes_digits_one_by_one() {
        let expected =
            ["It", "'s", " ", "1", "2", "3", "4", " o", "'clock", ",", " ", " DON", "'T", "\n\n", " x", "!=", "y"];
        assert_eq!(cut("qwen2", TEXT), expected);
    }

    #[test]
    fn the_default_cuts_at_punctuation_first() {
        let expected =
            ["It", "'", "s", " ", "123", "4", " o", "'", "clock", ",", " ", " DON", "'", "T", "\n\n", " x", "!=", "y"];
        assert_eq!(cut("default", TEXT), expected);
    }

    #[test]
    fn unknown_names_are_none() {
        assert!(named("viking").is_none());
    }
}
