//! Text to tokens and back.

mod detokenizer;
mod document;
mod error;
mod gguf;
mod pieces;
mod pre;
mod spm;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use self::detokenizer::Detokenizer;
pub use self::error::TokenizerError;
pub(crate) use self::gguf::Refusal;
use self::pieces::Pieces;
use crate::checkpoint::Metadata;

/// A checkpoint's tokenizer. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    pieces: Arc<Pieces>,
}

impl Tokenizer {
    /// Out of the document that `tokenizer.json` holds.
    pub(crate) fn from_document(document: Value) -> Result<Self, TokenizerError> {
        let decoder = document::check(&document)?;
        let inner = document::build(document)?;
        let pieces = Pieces::new(&inner, decoder)?;
        Ok(Self { inner: Arc::new(inner), pieces: Arc::new(pieces) })
    }

    /// Out of a GGUF's metadata.
    pub(crate) fn from_gguf(metadata: &Metadata) -> Result<Self, Refusal> {
        Ok(Self::from_document(gguf::document(metadata)?)?)
    }

    /// Tokens of `text`; special tokens written out in it count as such. `add_special` adds what the model wants
    /// around a text (a begin token, for most).
    ///
    /// # Errors
    /// [`TokenizerError::Library`] if the library refuses, which byte-level vocabularies never do.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, add_special).map_err(TokenizerError::library)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`, without special tokens. Ids that no token has are left out; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text: String = ids.iter().map(|&id| detokenizer.push(id)).collect();
        text.push_str(&detokenizer.finish());
        text
    }

    /// For one stream of tokens.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.pieces))
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token as the vocabulary writes it (`Ġthe`), or none if no token has this id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token as the vocabulary writes it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokenizer as a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] if the library cannot write it.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(false).map_err(TokenizerError::library)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).finish_non_exhaustive()
    }
}
