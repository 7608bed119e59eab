//! Tokens to text, one at a time, without losing or changing a character.

use std::sync::Arc;

use crate::tokenizer::pieces::{Piece, Pieces};

/// Bytes of text that hardly ever wait.
const BUFFER: usize = 64;

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
        let buffer = || Vec::with_capacity(BUFFER);
        Self { pieces, partial: buffer(), run: buffer(), strip }
    }

    /// Adds a token and returns the text that is now certain, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        let mut text = String::new();
        self.push_to(id, &mut text);
        text
    }

    /// Ends the stream and returns the rest, which is empty unless the tokens ended inside a character or a run of
    /// fallback bytes. The next token begins a new text.
    pub fn finish(&mut self) -> String {
        let mut rest = String::new();
        self.finish_to(&mut rest);
        rest
    }

    /// As [`Self::push`], appending to `text`.
    pub(crate) fn push_to(&mut self, id: u32, text: &mut String) {
        let start = text.len();
        match self.pieces.get(id) {
            Piece::Nothing => {}
            Piece::Bytes(bytes) => {
                self.partial.extend_from_slice(bytes);
                certain(&mut self.partial, text);
            }
            // One more invalid byte would turn the whole run into U+FFFD, so none of it is certain yet.
            Piece::Fallback(byte) => self.run.push(*byte),
            Piece::Text(piece) => {
                end_run(&mut self.run, text);
                text.push_str(piece);
                self.strip_start(text, start);
            }
        }
    }

    /// As [`Self::finish`], appending to `text`.
    pub(crate) fn finish_to(&mut self, text: &mut String) {
        let start = text.len();
        text.push_str(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
        end_run(&mut self.run, text);
        self.strip_start(text, start);
        self.strip = self.pieces.strip();
    }

    /// Leaves spaces out of what was appended from `start` on.
    fn strip_start(&mut self, text: &mut String, start: usize) {
        let added = &text[start..];
        if self.strip == 0 || added.is_empty() {
            return;
        }
        let spaces = added.bytes().take(self.strip).take_while(|byte| *byte == b' ').count();
        self.strip = if spaces == added.len() { self.strip - spaces } else { 0 };
        text.replace_range(start..start + spaces, "");
    }
}

/// Appends what no later byte can change, invalid sequences as U+FFFD, and leaves an unfinished character in `bytes`.
fn certain(bytes: &mut Vec<u8>, text: &mut String) {
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
}

/// A run of fallback bytes is its text if it is UTF-8, and otherwise one U+FFFD for each byte.
fn end_run(run: &mut Vec<u8>, text: &mut String) {
    match std::str::from_utf8(run) {
        Ok(valid) => text.push_str(valid),
        Err(_) => text.extend(run.iter().map(|_| char::REPLACEMENT_CHARACTER)),
    }
    run.clear();
}
