//! What every token adds to a text, as a table by id.

use std::collections::HashMap;

use serde_json::Value;

use crate::tokenizer::TokenizerError;

/// The decoders of the LLaMA family, reduced to what they do to one token after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// Letters stand for bytes (GPT-2); the bytes of all tokens together are read as UTF-8.
    ByteLevel,
    /// SentencePiece: `replacement` stands for a space, tokens `<0x0A>` for bytes if `byte_fallback`, and up to `strip`
    /// spaces at the start of the text are left out.
    SentencePiece { replacement: char, byte_fallback: bool, strip: usize },
}

impl Decoder {
    /// Out of a `tokenizer.json`'s `decoder`.
    pub(crate) fn parse(value: &Value) -> Result<Self, TokenizerError> {
        let unsupported = || TokenizerError::Unsupported(format!("the decoder {value}"));
        match value["type"].as_str() {
            Some("ByteLevel") => Ok(Self::ByteLevel),
            Some("Sequence") => {
                Self::sequence(value["decoders"].as_array().map_or(&[][..], Vec::as_slice)).ok_or_else(unsupported)
            }
            _ => Err(unsupported()),
        }
    }

    /// `Replace`, `ByteFallback`, `Fuse` and `Strip` in the one order that occurs, or a byte level alone.
    fn sequence(steps: &[Value]) -> Option<Self> {
        if let [only] = steps {
            return Self::parse(only).ok().filter(|decoder| *decoder == Self::ByteLevel);
        }
        let mut steps = steps.iter().peekable();
        let replace = steps.next().filter(|step| step["type"] == "Replace" && step["content"] == " ")?;
        let mut pattern = replace["pattern"]["String"].as_str()?.chars();
        let (replacement, None) = (pattern.next()?, pattern.next()) else { return None };
        let byte_fallback = steps.next_if(|step| step["type"] == "ByteFallback").is_some();
        steps.next().filter(|step| step["type"] == "Fuse")?;
        let strip = match steps.next() {
            None => 0,
            Some(step) if step["type"] == "Strip" && step["content"] == " " && step["stop"] == 0 => {
                usize::try_from(step["start"].as_u64()?).ok()?
            }
            Some(_) => return None,
        };
        steps.next().is_none().then_some(Self::SentencePiece { replacement, byte_fallback, strip })
    }
}

/// What one token adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nothing: a special token, or no token at all.
    Nothing,
    /// Bytes of a text that is read as UTF-8 in one go.
    Bytes(Box<[u8]>),
    /// One byte of a run that is text only if the whole run is UTF-8.
    Fallback(u8),
    /// Whole characters.
    Text(Box<str>),
}

/// Pieces by id.
pub(crate) struct Pieces {
    pieces: Vec<Piece>,
    strip: usize,
}

impl Pieces {
    pub(crate) fn new(tokenizer: &tokenizers::Tokenizer, decoder: Decoder) -> Result<Self, TokenizerError> {
        let size = tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        let letters = byte_letters();
        let added = tokenizer.get_added_vocabulary();
        let pieces = (0..size as u32).map(|id| match tokenizer.id_to_token(id) {
            Some(token) if !added.is_special_token(&token) => piece(&token, &decoder, &letters),
            _ => Piece::Nothing,
        });
        let strip = match decoder {
            Decoder::ByteLevel => 0,
            Decoder::SentencePiece { strip, .. } => strip,
        };
        Ok(Self { pieces: pieces.collect(), strip })
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Spaces left out at the start of a text.
    pub(crate) fn strip(&self) -> usize {
        self.strip
    }

    pub(crate) fn get(&self, id: u32) -> &Piece {
        self.pieces.get(id as usize).unwrap_or(&Piece::Nothing)
    }
}

fn piece(token: &str, decoder: &Decoder, letters: &HashMap<char, u8>) -> Piece {
    match *decoder {
        Decoder::ByteLevel => {
            // A token with any other letter, as added ones have, is taken as it is written.
            let bytes: Option<Vec<u8>> = token.chars().map(|letter| letters.get(&letter).copied()).collect();
            Piece::Bytes(bytes.unwrap_or_else(|| token.as_bytes().to_vec()).into())
        }
        Decoder::SentencePiece { replacement, byte_fallback, .. } => match fallback(token) {
            Some(byte) if byte_fallback => Piece::Fallback(byte),
            _ => Piece::Text(token.replace(replacement, " ").into()),
        },
    }
}

/// The byte of a token such as `<0x0A>`.
fn fallback(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// GPT-2's one visible letter for every byte: itself where it is visible in Latin-1, else the next from U+0100 on.
fn byte_letters() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=u8::MAX)
        .map(|byte| {
            let letter = match byte {
                b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
                _ => {
                    next += 1;
                    char::from_u32(next - 1).expect("68 code points from U+0100 on are letters")
                }
            };
            (letter, byte)
        })
        .collect()
}
