//! The chat template: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.

use std::path::Path;

use serde_json::Value;

use crate::chat::ChatTemplate;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::hugging_face::document::{self, Document};
use crate::model_config::ModelConfig;
use crate::tokenizer::Tokenizer;

pub(crate) fn read(
    directory: &Path,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
) -> Result<Option<ChatTemplate>, CheckpointError> {
    let settings = Document::read_optional(&directory.join("tokenizer_config.json"), document::MAX_SETTINGS)?;
    let settings = settings.map_or(Value::Null, |settings| settings.value);
    let source = match from_file(&directory.join("chat_template.jinja"))? {
        Some(source) => Some(source),
        None => from_settings(&settings["chat_template"]),
    };
    let token = |key: &str, id: Option<u32>| {
        let written = settings[key].as_str().or_else(|| settings[key]["content"].as_str()).map(str::to_owned);
        written.or_else(|| id.and_then(|id| tokenizer.token(id)))
    };
    let bos = token("bos_token", config.bos_token_id);
    let eos = token("eos_token", config.eos_token_ids.first().copied());
    Ok(source.map(|source| ChatTemplate::new(&source, bos, eos)).transpose()?)
}

fn from_file(path: &Path) -> Result<Option<String>, CheckpointError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = document::read_bounded(path, document::MAX_SETTINGS)?;
    String::from_utf8(bytes).map(Some).map_err(|error| CheckpointError::format(path, error.to_string()))
}

/// A template, or the one named `default` of a list of named ones.
fn from_settings(value: &Value) -> Option<String> {
    let template = match value {
        Value::Array(named) => &named.iter().find(|named| named["name"] == "default")?["template"],
        value => value,
    };
    template.as_str().map(str::to_owned)
}
