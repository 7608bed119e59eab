//! Fingerprints, computed apart from the code under test.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

pub(crate) fn bytes(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn file(path: &Path) -> String {
    bytes(&fs::read(path).expect("the file was just written"))
}

/// Over the lines that `sha256sum` prints for these files of `dir`, sorted by name.
pub(crate) fn files(dir: &Path, names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort();
    let lines: String = names.iter().map(|name| format!("{}  {name}\n", file(&dir.join(name)))).collect();
    bytes(lines.as_bytes())
}

/// Every token as its length (u32, little-endian) and its bytes.
pub(crate) fn vocabulary(tokens: &[String]) -> String {
    let mut all = Vec::new();
    for token in tokens {
        all.extend_from_slice(&u32::try_from(token.len()).expect("a short token").to_le_bytes());
        all.extend_from_slice(token.as_bytes());
    }
    bytes(&all)
}
