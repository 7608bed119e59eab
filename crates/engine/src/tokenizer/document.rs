//! Checks a `tokenizer.json` before the library sees it: the library panics on some broken ones, and its decoders
//! cannot all be run token by token.

use std::collections::HashSet;
use std::panic;

use serde_json::{Map, Value};

use crate::tokenizer::TokenizerError;
use crate::tokenizer::pieces::Decoder;

/// Largest id accepted, so that a table by id stays small.
const MAX_ID: u64 = 1 << 22;

/// Checks the model and the added tokens and names the decoder.
pub(crate) fn check(document: &Value) -> Result<Decoder, TokenizerError> {
    let model = document["model"].as_object().ok_or_else(|| invalid("there is no model"))?;
    match model.get("type").and_then(Value::as_str) {
        Some("BPE") => {}
        None if model.contains_key("merges") => {}
        other => return Err(TokenizerError::Unsupported(format!("a {} model", other.unwrap_or("nameless")))),
    }
    let vocabulary = vocabulary(model)?;
    check_merges(model, &vocabulary)?;
    for token in document["added_tokens"].as_array().into_iter().flatten() {
        if token["id"].as_u64().is_none_or(|id| id > MAX_ID) || token["content"].as_str().is_none_or(str::is_empty) {
            return Err(invalid("an added token has no content or no possible id"));
        }
    }
    Decoder::parse(&document["decoder"])
}

/// Hands the document to the library, without what would cut, fill or vary a text.
pub(crate) fn build(mut document: Value) -> Result<tokenizers::Tokenizer, TokenizerError> {
    document["truncation"] = Value::Null;
    document["padding"] = Value::Null;
    document["model"]["dropout"] = Value::Null;
    let bytes = serde_json::to_vec(&document).map_err(TokenizerError::library)?;
    // What `check` does not look at (normalizers and the like) may still hit an assertion of the library.
    let built = panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes));
    built.map_err(|_| invalid("the library could not build it"))?.map_err(TokenizerError::library)
}

fn vocabulary(model: &Map<String, Value>) -> Result<HashSet<&str>, TokenizerError> {
    let entries = model.get("vocab").and_then(Value::as_object).ok_or_else(|| invalid("there is no vocabulary"))?;
    let mut ids = HashSet::with_capacity(entries.len());
    for (token, id) in entries {
        let id = id.as_u64().filter(|id| *id <= MAX_ID);
        let id = id.ok_or_else(|| invalid(format!("token {token:?} has no possible id")))?;
        if !ids.insert(id) {
            return Err(invalid(format!("id {id} belongs to two tokens")));
        }
    }
    Ok(entries.keys().map(String::as_str).collect())
}

/// Every merge must join two tokens to a third: the library's builder indexes by that.
fn check_merges(model: &Map<String, Value>, vocabulary: &HashSet<&str>) -> Result<(), TokenizerError> {
    let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or("");
    if !prefix.is_empty() {
        return Err(TokenizerError::Unsupported("a prefix of continuing subwords".into()));
    }
    let merges = model.get("merges").and_then(Value::as_array).ok_or_else(|| invalid("there are no merges"))?;
    for merge in merges {
        let (left, right) = pair(merge).ok_or_else(|| invalid(format!("{merge} is not a merge")))?;
        let joined = format!("{left}{right}");
        if ![left, right, joined.as_str()].iter().all(|token| vocabulary.contains(token)) {
            return Err(invalid(format!("merge {left:?} {right:?} is not within the vocabulary")));
        }
    }
    Ok(())
}

/// Written as `["a", "b"]` or `"a b"`.
fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(merge) => merge.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(merge) => match merge.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}

fn invalid(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Invalid(reason.into())
}
