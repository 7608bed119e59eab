//! Fingerprints: of files and of a vocabulary.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// SHA-256 of all that `reader` yields, as 64 hexadecimal digits.
pub(crate) fn sha256(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// SHA-256 of `bytes`, as 64 hexadecimal digits.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 over the tokens by id, each as its length in bytes (u32, little-endian) and its UTF-8 bytes; an id without a
/// token counts as an empty one.
pub(crate) fn vocabulary_sha256<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for token in tokens {
        // A token comes out of a file whose strings are bounded far below 4 GiB.
        hasher.update((token.len() as u32).to_le_bytes());
        hasher.update(token.as_bytes());
    }
    hex(&hasher.finalize())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
