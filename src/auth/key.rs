//! The text of a key.

use std::fmt;

use sha2::{Digest, Sha256};

const PREFIX: &str = "tureen_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A key: `tureen_`, an id that names it, `_`, and a secret, both in hex. Its secret has 256 random bits, so a plain
/// SHA-256 of it cannot be turned back by trying, and slow hashes for passwords would add nothing.
pub struct Key {
    id: String,
    secret: String,
}

impl Key {
    /// A fresh one, from the system's random numbers.
    pub fn generate() -> Self {
        let (id, secret): ([u8; ID_BYTES], [u8; SECRET_BYTES]) = rand::random();
        Self { id: hex::encode(id), secret: hex::encode(secret) }
    }

    /// Takes a key apart. `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<(&str, [u8; 32])> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let fits = |part: &str, bytes: usize| part.len() == 2 * bytes && part.bytes().all(|b| b.is_ascii_hexdigit());
        (fits(id, ID_BYTES) && fits(secret, SECRET_BYTES)).then(|| (id, digest(secret)))
    }

    /// Whether `text` was meant as a key of ours.
    pub(super) fn looks_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The part that names it, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is stored of the secret: its SHA-256 in hex.
    pub fn secret_sha256(&self) -> String {
        hex::encode(digest(&self.secret))
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
