//! A base model on disk: configuration, weights, tokenizer and chat template out of a GGUF file or a Hugging Face
//! directory.

mod base_facts;
mod digest;
mod error;
mod file;
mod gguf;
mod layout;

use std::fmt;
use std::path::Path;

use candle_core::Tensor;

pub use self::error::CheckpointError;
pub use self::gguf::GgufError;
pub(crate) use self::gguf::metadata::Metadata;
use crate::chat::ChatTemplate;
use crate::model_config::ModelConfig;
use crate::tokenizer::{Refusal, Tokenizer};

/// An open, checked base model. Weights are decoded when they are asked for; names, shapes and row order are Hugging
/// Face's, whatever the file's are.
pub struct Checkpoint {
    weights: Weights,
    name: String,
    vocabulary_sha256: String,
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
}

enum Weights {
    Gguf(gguf::GgufFile),
}

impl Checkpoint {
    /// Opens a `.gguf` file or a Hugging Face directory and reads all of it once, to hash it.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything that is missing, broken or would be served wrongly; broken files never panic.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let metadata = std::fs::metadata(path).map_err(CheckpointError::io(path))?;
        if metadata.is_dir() {
            return Err(CheckpointError::NotACheckpoint(path.to_owned()));
        }
        Self::open_gguf(path)
    }

    fn open_gguf(path: &Path) -> Result<Self, CheckpointError> {
        let file = gguf::GgufFile::open(path)?;
        layout::check(&file.config, &file.shapes())?;
        let at = |source| CheckpointError::Gguf { path: path.to_owned(), source };
        let metadata = &file.header_metadata;
        let tokenizer = Tokenizer::from_gguf(metadata).map_err(|refusal| match refusal {
            Refusal::Gguf(source) => at(source),
            Refusal::Tokenizer(error) => error.into(),
        })?;
        let source = metadata.string("tokenizer.chat_template").map_err(at)?;
        let token = |key| metadata.id(key).map(|id| id.and_then(|id| tokenizer.token(id))).map_err(at);
        let (bos, eos) = (token("tokenizer.ggml.bos_token_id")?, token("tokenizer.ggml.eos_token_id")?);
        let chat_template = source.map(|source| ChatTemplate::new(source, bos, eos)).transpose()?;
        Self::new(Weights::Gguf(file), gguf_name(path), tokenizer, chat_template)
    }

    fn new(
        weights: Weights,
        name: String,
        tokenizer: Tokenizer,
        chat_template: Option<ChatTemplate>,
    ) -> Result<Self, CheckpointError> {
        let tokens: Vec<_> =
            (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token(id).unwrap_or_default()).collect();
        let vocabulary_sha256 = digest::vocabulary_sha256(tokens.iter().map(String::as_str));
        Ok(Self { weights, name, vocabulary_sha256, tokenizer, chat_template })
    }

    /// Sizes and constants of the network.
    pub fn config(&self) -> &ModelConfig {
        match &self.weights {
            Weights::Gguf(file) => &file.config,
        }
    }

    /// The model's name: the directory's, or the GGUF's without `.gguf` and the name of its quantisation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fingerprint of the files, 64 hexadecimal digits: the SHA-256 of the GGUF, or that over the lines
    /// `{sha256}  {file name}` of config.json, tokenizer.json and every safetensors file, sorted by name.
    pub fn sha256(&self) -> &str {
        match &self.weights {
            Weights::Gguf(file) => &file.sha256,
        }
    }

    /// Fingerprint of the vocabulary, 64 hexadecimal digits: over all tokens by id, each as its length in bytes (u32,
    /// little-endian) and its UTF-8 bytes, ids without a token as empty ones.
    pub fn vocabulary_sha256(&self) -> &str {
        &self.vocabulary_sha256
    }

    /// The tensors' names, ascending.
    pub fn names(&self) -> Vec<String> {
        self.shapes().into_keys().collect()
    }

    fn shapes(&self) -> layout::Shapes {
        match &self.weights {
            Weights::Gguf(file) => file.shapes(),
        }
    }

    /// Shape of a tensor, or none if there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.weights {
            Weights::Gguf(file) => file.shape(name),
        }
    }

    /// A tensor decoded to f32, on the CPU. Reads the file each time.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownTensor`], or [`CheckpointError::Changed`] if the file is no longer the one that was opened.
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        match &self.weights {
            Weights::Gguf(file) => file.tensor(name),
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template, if the model has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("name", &self.name).field("config", self.config()).finish_non_exhaustive()
    }
}

/// The file's name without `.gguf` and, if the last part is one, the quantisation (`.Q4_1`, `-f16`).
fn gguf_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem.rfind(['.', '-']) {
        Some(at) if at > 0 && is_quantisation(&stem[at + 1..]) => stem[..at].to_owned(),
        _ => stem,
    }
}

fn is_quantisation(part: &str) -> bool {
    let part = part.to_ascii_uppercase();
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    matches!(part.as_str(), "F32" | "F16" | "BF16")
        || part.strip_prefix('Q').is_some_and(digit)
        || part.strip_prefix("IQ").is_some_and(digit)
}
