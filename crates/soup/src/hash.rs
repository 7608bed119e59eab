//! Hashes: of files, of revisions, of soups.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Whether `text` is a SHA-256 as `sha256sum` prints it.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The first 16 bytes of a SHA-256: 128 bits are enough that no two contents ever share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest16([u8; 16]);

impl fmt::Display for Digest16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Hashes a sequence of fields; each is preceded by its length, so no two sequences are written alike.
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// `domain` keeps the hashes of different things apart.
    pub(crate) fn new(domain: &str) -> Self {
        Self(Sha256::new()).field(domain.as_bytes())
    }

    pub(crate) fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The bits of `value`: 0 and -0 differ here, so callers settle the sign first.
    pub(crate) fn number(self, value: f64) -> Self {
        self.field(&value.to_bits().to_le_bytes())
    }

    pub(crate) fn finish(self) -> Digest16 {
        let digest = self.0.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Digest16(first)
    }

    /// All 32 bytes, cut to the 64 bits that seed a generator.
    pub(crate) fn seed(self) -> u64 {
        let digest = self.0.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
    }
}
