//! A file that is opened once, hashed and then read again and again.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::checkpoint::CheckpointError;

/// An open file that notices when it was written to. Read, not mapped: a file cut short under a map ends the process.
pub(crate) struct Watched {
    path: PathBuf,
    /// Behind a lock, since reading moves the one position.
    file: Mutex<File>,
    stamp: (u64, Option<SystemTime>),
}

impl Watched {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::io(path))?;
        let metadata = file.metadata().map_err(CheckpointError::io(path))?;
        if !metadata.is_file() {
            return Err(CheckpointError::format(path, "not a regular file"));
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), stamp: stamp(&metadata) })
    }

    /// Length in bytes when it was opened.
    pub(crate) fn length(&self) -> u64 {
        self.stamp.0
    }

    /// Runs `read` on the file, positioned at its start.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&File) -> io::Result<T>) -> Result<T, CheckpointError> {
        // A reader that panicked left nothing behind but the position, which is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.rewind().and_then(|()| read(&file)).map_err(CheckpointError::io(&self.path))
    }

    /// `size` bytes from `start` on. Allocates them: the caller knows that the file has them.
    pub(crate) fn bytes(&self, start: u64, size: usize) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = vec![0; size];
        self.with(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut bytes)
        })?;
        self.check()?;
        Ok(bytes)
    }

    /// Refuses a file whose length or time of change is no longer that of its opening.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let now = self.with(|file| file.metadata())?;
        if stamp(&now) == self.stamp { Ok(()) } else { Err(CheckpointError::Changed(self.path.clone())) }
    }
}

fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}
