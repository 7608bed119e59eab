//! A `tokenizer.json` out of a GGUF's metadata.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::checkpoint::{GgufError, Metadata};
use crate::tokenizer::{TokenizerError, pre, spm};

/// Token types of llama.cpp that matter here.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Why a GGUF has no tokenizer.
pub(crate) enum Refusal {
    Gguf(GgufError),
    Tokenizer(TokenizerError),
}

impl From<GgufError> for Refusal {
    fn from(error: GgufError) -> Self {
        Self::Gguf(error)
    }
}

impl From<TokenizerError> for Refusal {
    fn from(error: TokenizerError) -> Self {
        Self::Tokenizer(error)
    }
}

/// The document that [`Tokenizer::from_document`](crate::Tokenizer) takes.
pub(crate) fn document(metadata: &Metadata) -> Result<Value, Refusal> {
    let tokens = metadata.strings("tokenizer.ggml.tokens")?.ok_or_else(|| missing("tokens"))?;
    let kind = metadata.string("tokenizer.ggml.model")?.ok_or_else(|| missing("model"))?;
    let vocabulary = vocabulary(tokens)?;
    let mut document = match kind {
        "gpt2" => byte_level(metadata, vocabulary)?,
        "llama" => spm::document(metadata, tokens, vocabulary)?,
        other => return Err(TokenizerError::Unsupported(format!("the GGUF tokenizer {other}")).into()),
    };
    document["version"] = json!("1.0");
    document["added_tokens"] = added(tokens, metadata.integers("tokenizer.ggml.token_type")?.unwrap_or_default());
    Ok(document)
}

fn vocabulary(tokens: &[String]) -> Result<Map<String, Value>, TokenizerError> {
    let mut vocabulary = Map::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.clone(), id.into()).is_some() {
            return Err(TokenizerError::Invalid(format!("token {token:?} occurs twice")));
        }
    }
    Ok(vocabulary)
}

fn added(tokens: &[String], types: &[i64]) -> Value {
    let added = tokens
        .iter()
        .zip(types)
        .enumerate()
        .filter(|(_, (token, kind))| !token.is_empty() && matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED));
    added
        .map(|(id, (token, kind))| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": *kind != USER_DEFINED})
        })
        .collect()
}

fn byte_level(metadata: &Metadata, vocabulary: Map<String, Value>) -> Result<Value, Refusal> {
    let name = metadata.string("tokenizer.ggml.pre")?.unwrap_or("default");
    let pre = pre::named(name).ok_or_else(|| TokenizerError::Unsupported(format!("the pre-tokenizer {name}")))?;
    let merges = metadata.strings("tokenizer.ggml.merges")?.ok_or_else(|| missing("merges"))?;
    let merges = merges.iter().map(|merge| split_merge(merge)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "normalizer": pre.normalizer,
        "pre_tokenizer": pre.pre_tokenizer,
        "post_processor": post_processor(metadata, pre.add_bos)?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre.ignore_merges, "vocab": vocabulary, "merges": merges,
        },
    }))
}

/// llama.cpp cuts a merge at the first space after its first letter, since a token may be a space.
fn split_merge(merge: &str) -> Result<[&str; 2], TokenizerError> {
    let first = merge.chars().next().map_or(0, char::len_utf8);
    let space = merge[first..].find(' ').map(|at| at + first);
    let (left, right) = space
        .map(|at| (&merge[..at], &merge[at + 1..]))
        .ok_or_else(|| TokenizerError::Invalid(format!("{merge:?} is not a merge")))?;
    Ok([left, right])
}

/// The tokens that the model wants around a text.
pub(crate) fn post_processor(metadata: &Metadata, add_bos: bool) -> Result<Value, Refusal> {
    let tokens = metadata.strings("tokenizer.ggml.tokens")?.unwrap_or_default();
    let find = |add: bool, key: &str| -> Result<Option<(u32, &String)>, Refusal> {
        let id = if add { metadata.id(key)? } else { None };
        Ok(id.and_then(|id| Some((id, tokens.get(id as usize)?))))
    };
    let add_bos = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos);
    let add_eos = metadata.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    let bos = find(add_bos, "tokenizer.ggml.bos_token_id")?;
    let eos = find(add_eos, "tokenizer.ggml.eos_token_id")?;
    if bos.is_none() && eos.is_none() {
        return Ok(Value::Null);
    }
    let special = |token: &String, kind: u8| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let around = |sequence: &str, kind: u8| -> Vec<Value> {
        let middle = json!({"Sequence": {"id": sequence, "type_id": kind}});
        let (open, close) = (bos.map(|(_, token)| special(token, kind)), eos.map(|(_, token)| special(token, kind)));
        open.into_iter().chain([middle]).chain(close).collect()
    };
    let single = around("A", 0);
    let pair: Vec<Value> = single.iter().cloned().chain(around("B", 1)).collect();
    let mut known = Map::new();
    let mut seen = HashSet::new();
    for (id, token) in bos.into_iter().chain(eos).filter(|(id, _)| seen.insert(*id)) {
        known.insert(token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}))
}

fn missing(key: &str) -> GgufError {
    GgufError::MissingKey(format!("tokenizer.ggml.{key}"))
}
