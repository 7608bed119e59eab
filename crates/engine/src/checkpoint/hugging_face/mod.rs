//! Hugging Face directories: `config.json`, safetensors, `tokenizer.json` and a chat template.

mod chat;
mod config;
mod document;
mod rope;
mod safetensors;
mod shards;

use std::path::Path;

use self::document::Document;
use self::shards::Shards;
use crate::chat::ChatTemplate;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::digest;
use crate::checkpoint::layout::Shapes;
use crate::checkpoint::stored::Stored;
use crate::model_config::ModelConfig;
use crate::tokenizer::Tokenizer;

/// Largest `tokenizer.json`, in bytes; known ones have up to 35 MiB.
const MAX_TOKENIZER: u64 = 1 << 27;

/// An open directory.
pub(crate) struct Directory {
    shards: Shards,
    pub(crate) config: ModelConfig,
    pub(crate) sha256: String,
}

/// A directory with what else was in it.
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) chat_template: Option<ChatTemplate>,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Opened, CheckpointError> {
        let config_json = Document::read(&path.join("config.json"), document::MAX_SETTINGS)?;
        let tokenizer_json = Document::read(&path.join("tokenizer.json"), MAX_TOKENIZER)?;
        let generation = Document::read_optional(&path.join("generation_config.json"), document::MAX_SETTINGS)?;
        let config = config::read(&config_json, generation.as_ref())?;
        let shards = Shards::open(path, config.tie_word_embeddings)?;
        let sha256 = fingerprint(&[&config_json, &tokenizer_json], &shards)?;
        let tokenizer = Tokenizer::from_document(tokenizer_json.value)?;
        let chat_template = chat::read(path, &config, &tokenizer)?;
        Ok(Opened { directory: Self { shards, config, sha256 }, tokenizer, chat_template })
    }

    pub(crate) fn shapes(&self) -> Shapes {
        self.shards.shapes()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shards.shape(name)
    }

    pub(crate) fn stored(&self, name: &str) -> Result<Stored, CheckpointError> {
        self.shards.stored(name)
    }
}

/// SHA-256 over the lines that `sha256sum` prints for the files, sorted by name.
fn fingerprint(documents: &[&Document], shards: &Shards) -> Result<String, CheckpointError> {
    let mut lines: Vec<(String, String)> =
        documents.iter().map(|document| (document.name.clone(), document.sha256.clone())).collect();
    lines.extend(shards.sha256s()?);
    lines.sort();
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    Ok(digest::sha256_of(text.as_bytes()))
}
