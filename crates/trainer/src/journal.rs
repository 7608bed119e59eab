//! Files of one JSON record a line that a run appends to as it goes, and that the next run goes on with.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::TrainError;

/// A file of records, open behind its last whole line, and nobody else's until it is dropped.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the file at `path`, or begins one, and returns the records of its lines. What a crash or a full disk left behind
    /// the last whole line is cut off. Every record names the work it belongs to, such as a rollout, in the field `work`:
    /// `identity` is a hash of everything that decides what is written.
    ///
    /// # Errors
    /// A file that another run has open or that cannot be read or written, and a line that is no record of this `identity`;
    /// the file is then left as it was.
    pub(crate) fn take_up(path: &Path, work: &str, identity: &str) -> Result<(Self, Vec<Value>), TrainError> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(TrainError::io(path))?;
        // A file system without locks cannot tell; then nobody is kept out.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(TrainError::Invalid(format!("{}: another run is writing to it", path.display())));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(TrainError::io(path))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut records = Vec::new();
        for (index, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let broken = |error: serde_json::Error| TrainError::Record {
                path: path.to_owned(),
                line: index + 1,
                message: format!("is no record of the {work} ({error}); name another folder or remove the file"),
            };
            let record: Value = serde_json::from_slice(line).map_err(broken)?;
            if record[work] != identity {
                let message = format!("holds answers of another {work}; name another folder or remove it");
                return Err(TrainError::Invalid(format!("{}: {message}", path.display())));
            }
            records.push(record);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(TrainError::io(path))?;
        }
        Ok((Self { path: path.to_owned(), file }, records))
    }

    /// Appends records, a line each, in one write: a crash leaves whole lines and at most one that is cut off.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn append(&mut self, records: &[Value]) -> Result<(), TrainError> {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        self.file.write_all(lines.as_bytes()).map_err(TrainError::io(&self.path))
    }
}
