//! SentencePiece vocabularies of a GGUF, which carry scores in place of merges.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::checkpoint::{GgufError, Metadata};
use crate::tokenizer::TokenizerError;
use crate::tokenizer::gguf::{Refusal, post_processor};

/// Longest token that is looked at for merges, in characters: a longer one would cost its length squared.
const MAX_TOKEN: usize = 256;

/// The document but for its version and added tokens.
pub(crate) fn document(
    metadata: &Metadata,
    tokens: &[String],
    vocabulary: Map<String, Value>,
) -> Result<Value, Refusal> {
    let scores = metadata
        .floats("tokenizer.ggml.scores")?
        .ok_or_else(|| GgufError::MissingKey("tokenizer.ggml.scores".into()))?;
    if scores.len() != tokens.len() || scores.iter().any(|score| score.is_nan()) {
        return Err(TokenizerError::Invalid("the scores do not fit the tokens".into()).into());
    }
    let prefix = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizers: Vec<Value> =
        prefix.then(|| json!({"type": "Prepend", "prepend": "▁"})).into_iter().chain([replace]).collect();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = metadata.id("tokenizer.ggml.unknown_token_id")?.and_then(|id| tokens.get(id as usize));
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": post_processor(metadata, true)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges(tokens, scores),
        },
    }))
}

/// Every way to join two tokens to a third, best score first: merging by score is byte pair encoding in this order.
/// The order among equal scores is that of transformers' converter.
fn merges<'a>(tokens: &'a [String], scores: &[f32]) -> Vec<[&'a str; 2]> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        if token.chars().nth(MAX_TOKEN).is_some() {
            continue;
        }
        let cuts = token.char_indices().skip(1).filter_map(|(at, _)| {
            let (left, right) = token.split_at(at);
            Some((*ids.get(left)?, *ids.get(right)?, left, right))
        });
        let mut cuts: Vec<_> = cuts.collect();
        cuts.sort_unstable();
        merges.extend(cuts.into_iter().map(|(_, _, left, right)| Merge { score, left, right }));
    }
    // Stable, so that tokens of equal score and lengths keep the vocabulary's order.
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.lengths().cmp(&a.lengths())));
    merges.into_iter().map(|merge| [merge.left, merge.right]).collect()
}

struct Merge<'a> {
    score: f32,
    left: &'a str,
    right: &'a str,
}

impl Merge<'_> {
    fn lengths(&self) -> (usize, usize) {
        (self.left.chars().count(), self.right.chars().count())
    }
}
