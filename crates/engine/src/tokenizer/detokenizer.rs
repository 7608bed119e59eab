//! Tokens to text, one at a time, without losing or changing a character.

use std::mem;
use std::sync::Arc;

use crate::tokenizer::pieces::{Piece, Pieces};

/// Turns a stream of tokens into text. Whatever the tokens are, the pushed pieces and the final one put together are
/// [`Tokenizer::decode`](crate::Tokenizer::decode) of them all.
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    /// The start of a character whose end has not come: at most 3 bytes.
    partial: Vec<u8>,
    /// Fallback bytes that have not met a token of text.
    run: Vec<u8>,
    /// Spaces yet to leave out, while no other character has come.
    strip: usize,
}

impl Detokenizer {
    pub(crate) fn new(pieces: Arc<Pieces>) -> Self {
        let strip = pieces.strip();
        Self { pieces, partial: Vec::new(), run: Vec::new(), strip }
    }

    /// Adds a token and returns the text that is now certain, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        let pieces = Arc::clone(&self.pieces);
        match pieces.get(id) {
            Piece::Nothing => String::new(),
            Piece::Bytes(bytes) => {
                self.partial.extend_from_slice(bytes);
                certain(&mut self.partial)
            }
            // One more invalid byte would turn the whole run into U+FFFD, so none of it is certain yet.
            Piece::Fallback(byte) => {
                self.run.push(*byte);
                String::new()
            }
            Piece::Text(text) => {
                let mut result = end_run(&mut self.run);
                result.push_str(text);
                self.strip_start(result)
            }
        }
    }

    /// Ends the stream and returns the rest, which is empty unless the tokens ended inside a character or a run of
    /// fallback bytes. The next token begins a new text.
    pub fn finish(&mut self) -> String {
        let mut rest = String::from_utf8_lossy(&mem::take(&mut self.partial)).into_owned();
        rest.push_str(&end_run(&mut self.run));
        let rest = self.strip_start(rest);
        self.strip = self.pieces.strip();
        rest
    }

    fn strip_start(&mut self, text: String) -> String {
        if self.strip == 0 || text.is_empty() {
            return text;
        }
        let spaces = text.bytes().take(self.strip).take_while(|byte| *byte == b' ').count();
        self.strip = if spaces == text.len() { self.strip - spaces } else { 0 };
        text[spaces..].to_owned()
    }
}

/// Takes from `bytes` what no later byte can change, invalid sequences as U+FFFD, and leaves an unfinished character.
fn certain(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        let at_end = taken + invalid.len() == bytes.len();
        // At the end of the bytes, "invalid" may only mean "unfinished": error_len tells them apart.
        if at_end && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) {
            break;
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        taken += invalid.len();
    }
    bytes.drain(..taken);
    text
}

/// A run of fallback bytes is its text if it is UTF-8, and otherwise one U+FFFD for each byte.
fn end_run(run: &mut Vec<u8>) -> String {
    String::from_utf8(mem::take(run))
        .unwrap_or_else(|error| char::REPLACEMENT_CHARACTER.to_string().repeat(error.as_bytes().len()))
}
