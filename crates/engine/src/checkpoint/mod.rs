//! A base model on disk: configuration, weights, tokenizer and chat template out of a GGUF file or a Hugging Face
//! directory.

mod base_facts;
mod digest;
mod error;
mod file;
mod gguf;
mod hugging_face;
mod layout;
mod name;
mod stored;

use std::fmt;
use std::path::Path;

use candle_core::Tensor;

pub use self::error::CheckpointError;
pub use self::gguf::GgufError;
use self::gguf::GgufFile;
pub(crate) use self::gguf::metadata::Metadata;
use self::hugging_face::{Directory, Opened};
pub(crate) use self::stored::{Encoding, Stored};
use crate::chat::ChatTemplate;
use crate::model_config::ModelConfig;
use crate::tokenizer::Tokenizer;

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
    Gguf(GgufFile),
    Directory(Directory),
}

impl Checkpoint {
    /// Opens a `.gguf` file or a Hugging Face directory and reads all of it once, to hash it.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything that is missing, broken or would be served wrongly; broken files never panic.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let metadata = std::fs::metadata(path).map_err(CheckpointError::io(path))?;
        if metadata.is_dir() && path.join("config.json").exists() {
            let Opened { directory, tokenizer, chat_template } = Directory::open(path)?;
            Self::new(Weights::Directory(directory), name::of_directory(path), tokenizer, chat_template)
        } else if metadata.is_file() {
            let (file, tokenizer, chat_template) = gguf::open(path)?;
            Self::new(Weights::Gguf(file), name::of_gguf(path), tokenizer, chat_template)
        } else {
            Err(CheckpointError::NotACheckpoint(path.to_owned()))
        }
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
        let checkpoint = Self { weights, name, vocabulary_sha256, tokenizer, chat_template };
        checkpoint.config().check().map_err(CheckpointError::Config)?;
        layout::check(checkpoint.config(), &checkpoint.shapes())?;
        Ok(checkpoint)
    }

    /// Sizes and constants of the network.
    pub fn config(&self) -> &ModelConfig {
        match &self.weights {
            Weights::Gguf(file) => &file.config,
            Weights::Directory(directory) => &directory.config,
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
            Weights::Directory(directory) => &directory.sha256,
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
            Weights::Directory(directory) => directory.shapes(),
        }
    }

    /// Shape of a tensor, or none if there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.weights {
            Weights::Gguf(file) => file.shape(name),
            Weights::Directory(directory) => directory.shape(name),
        }
    }

    /// A tensor decoded to f32, on the CPU. Reads the file each time.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownTensor`], or [`CheckpointError::Changed`] if the file is no longer the one that was opened.
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        self.stored(name)?.tensor()
    }

    /// A tensor as it is stored. Reads the file each time.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub(crate) fn stored(&self, name: &str) -> Result<Stored, CheckpointError> {
        match &self.weights {
            Weights::Gguf(file) => file.stored(name),
            Weights::Directory(directory) => directory.stored(name),
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
