//! Putting a file at its place: written beside it as `.part`, hashed on the way, renamed at the end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::SourceError;

const CHUNK_BYTES: usize = 1 << 20;

/// Copies `from` (of `size` bytes) to `target`. Nothing is at `target` unless every byte is, with the right hash.
pub(super) fn write(from: &mut impl Read, size: u64, target: &Path, sha256: Option<&str>) -> Result<(), SourceError> {
    let part = part_of(target);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(&part)?;
    let got = copy(from, &mut file, size)?;
    file.sync_all()?;
    finish(&part, target, &got, sha256)
}

/// Hex sha256 of a file.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    copy(&mut file, &mut io::sink(), size)
}

/// `model.gguf` is written as `model.gguf.part`.
pub(super) fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn finish(part: &Path, target: &Path, got: &str, expected: Option<&str>) -> Result<(), SourceError> {
    if let Some(expected) = expected.filter(|e| !e.eq_ignore_ascii_case(got)) {
        fs::remove_file(part)?;
        return Err(SourceError::Checksum { got: got.into(), expected: expected.into() });
    }
    fs::rename(part, target)?;
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write, size: u64) -> io::Result<String> {
    let bar = progress(size);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        bar.inc(n as u64);
    }
    bar.finish_and_clear();
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .expect("the template is constant and valid");
    ProgressBar::new(size).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn the_right_bytes_arrive_and_no_part_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/model.gguf");
        write(&mut &b"hello"[..], 5, &target, Some(HELLO)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"hello");
        assert!(!part_of(&target).exists());
    }

    #[test]
    fn the_wrong_bytes_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model.gguf");
        let error = write(&mut &b"hullo"[..], 5, &target, Some(HELLO)).unwrap_err();
        assert!(matches!(error, SourceError::Checksum { .. }));
        assert!(!target.exists() && !part_of(&target).exists());
    }
}
