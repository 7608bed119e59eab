//! Files of a pool: opened once, never through a symbolic link, and watched.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::bytes::Bytes;
use crate::mmap::Map;
use crate::pool::Weights;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file is missing")]
    Missing,
    #[error("is a symbolic link: put the file itself into the pool")]
    Symlink,
    #[error("is not a regular file")]
    NotRegular,
    #[error("the folder is not a folder of the pool itself")]
    OutsidePool,
    #[error("was replaced while it was opened: try again")]
    Replaced,
    #[error("is empty")]
    Empty,
    #[error("has {len} bytes, {limit} are allowed")]
    TooLarge { len: u64, limit: u64 },
    #[error("changed while it was read: replace files by renaming, not in place")]
    Changed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open file and what it looked like when it was opened.
#[derive(Debug)]
pub(crate) struct PoolFile {
    file: File,
    path: PathBuf,
    len: u64,
    modified: SystemTime,
}

impl PoolFile {
    /// Opens `dir`/`name`. Neither may be a symbolic link: a pool is one folder, and its hashes are worth nothing when
    /// the bytes lie elsewhere.
    pub(crate) fn open(dir: &Path, name: &str) -> Result<Self, FileError> {
        // A link could still be put in between these looks and the opening, but then the opened file is another one
        // than the file that was looked at.
        require_folder(dir)?;
        let path = dir.join(name);
        let seen = look(&path)?;
        let file = File::open(&path)?;
        let opened = file.metadata()?;
        require_folder(dir)?;
        if !same_file(&seen, &opened) || !same_file(&look(&path)?, &opened) {
            return Err(FileError::Replaced);
        }
        if opened.len() == 0 {
            return Err(FileError::Empty);
        }
        Ok(Self { len: opened.len(), modified: opened.modified()?, file, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn require_at_most(&self, limit: u64) -> Result<(), FileError> {
        if self.len > limit { Err(FileError::TooLarge { len: self.len, limit }) } else { Ok(()) }
    }

    /// All bytes, in memory.
    pub(crate) fn read(&self) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        // One byte more than there was: a file that grows is seen, one that never ends is not read for ever.
        (&self.file).take(self.len + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != self.len || self.changed() {
            return Err(FileError::Changed);
        }
        Ok(bytes)
    }

    /// All bytes, as `weights` says.
    pub(crate) fn bytes(&self, weights: Weights) -> Result<Bytes, FileError> {
        match weights {
            Weights::Mapped => Ok(Bytes::Mapped(Map::new(&self.file, self.len)?)),
            Weights::Read => Ok(Bytes::Read(self.read()?)),
        }
    }

    /// Whether this very file was written to or cut since it was opened. A new file renamed over it is another file,
    /// and the old one lives on unchanged.
    pub(crate) fn changed(&self) -> bool {
        let now = self.file.metadata().and_then(|m| Ok((m.len(), m.modified()?)));
        !now.is_ok_and(|now| now == (self.len, self.modified))
    }
}

fn require_folder(dir: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(FileError::OutsidePool),
        Err(e) => Err(missing(e)),
    }
}

/// Looks before opening, as opening a pipe would wait for ever.
fn look(path: &Path) -> Result<Metadata, FileError> {
    let metadata = fs::symlink_metadata(path).map_err(missing)?;
    if metadata.is_symlink() {
        return Err(FileError::Symlink);
    }
    if metadata.is_file() { Ok(metadata) } else { Err(FileError::NotRegular) }
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn missing(error: io::Error) -> FileError {
    if error.kind() == io::ErrorKind::NotFound { FileError::Missing } else { error.into() }
}
