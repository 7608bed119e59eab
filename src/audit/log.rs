//! Writing the log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chain::{Keys, Tag};
use super::checkpoint::{self, Checkpoint};
use super::segment::{self, Line, Lines};
use super::{AuditError, Event, Record, tampered};
use crate::store::now_ms;

/// How the log is written.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Bytes after which a new segment begins.
    pub segment_bytes: u64,
    /// Whether [`Log::append`] returns only when the records are on the disk.
    pub sync: bool,
}

/// The end of a log, where records are added. One process at a time has it.
pub struct Log {
    dir: PathBuf,
    keys: Keys,
    options: LogOptions,
    file: File,
    end: Checkpoint,
    /// Something may stand behind `end`.
    spoilt: bool,
    _lock: File,
}

impl Log {
    /// Opens the log in `dir`, or begins one. What stands behind the last checkpoint was written before a crash: whole
    /// lines must continue the chain, and a last one that is not whole is taken out and recorded.
    ///
    /// # Errors
    /// When the log is in use, ends before its checkpoint, or does not continue from it.
    pub fn open(dir: &Path, keys: Keys, options: LogOptions) -> Result<Self, AuditError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = private(&dir.join("lock"))?;
        lock.try_lock().map_err(|_| AuditError::Locked)?;
        let end = match Checkpoint::read(&dir.join(checkpoint::FILE), &keys)? {
            Some(end) => end,
            None if segment::list(dir)?.is_empty() => {
                // Before the first line: from here on, a log without a checkpoint is one that lost it.
                let begin = Checkpoint { segment: 0, bytes: 0, seq: 0, tag: keys.genesis() };
                begin.write(dir, &keys, true)?;
                begin
            }
            None => return Err(tampered("its checkpoint is missing")),
        };
        let (end, torn) = catch_up(dir, &keys, end)?;
        if end.segment == 0 {
            let file = private(&segment::path(dir, 1))?;
            let mut log = Self { dir: dir.to_owned(), keys, options, file, end, spoilt: false, _lock: lock };
            log.rotate()?;
            log.keep_checkpoint()?;
            return Ok(log);
        }
        let path = segment::path(dir, end.segment);
        let file = private(&path)?;
        file.set_len(end.bytes)?;
        file.sync_data()?;
        let mut log = Self { dir: dir.to_owned(), keys, options, file, end, spoilt: false, _lock: lock };
        if let Some(torn) = torn {
            let fingerprint = log.keys.fingerprint(&torn);
            log.append(&[Event::Healed { bytes: torn.len() as u64, fingerprint }])?;
        }
        Ok(log)
    }

    /// Adds records. All of them are in the log then, or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        if self.end.bytes >= self.options.segment_bytes {
            self.rotate()?;
        }
        let before = self.end;
        self.clean()?;
        let result = self.write(events);
        if result.is_err() {
            // Half a record must not stay.
            (self.end, self.spoilt) = (before, true);
            self.clean()?;
        }
        result
    }

    fn clean(&mut self) -> io::Result<()> {
        if self.spoilt {
            self.file.set_len(self.end.bytes)?;
            self.spoilt = false;
        }
        Ok(())
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes the checkpoint again: whether the folder can be written to.
    pub(super) fn keep_checkpoint(&self) -> io::Result<()> {
        self.end.write(&self.dir, &self.keys, self.options.sync)
    }

    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        let mut lines = String::new();
        let mut end = self.end;
        for event in events {
            lines += &line(&self.keys, &mut end, event)?;
        }
        self.file.write_all_at(lines.as_bytes(), self.end.bytes)?;
        if self.options.sync {
            self.file.sync_data()?;
        }
        end.bytes += lines.len() as u64;
        self.end = end;
        self.keep_checkpoint()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let mut end = Checkpoint { segment: self.end.segment + 1, bytes: 0, ..self.end };
        let header = Event::Segment {
            segment: end.segment,
            before: hex::encode(end.tag),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let line = line(&self.keys, &mut end, &header)?;
        let path = segment::path(&self.dir, end.segment);
        let file = private(&path)?;
        file.set_len(0)?;
        (&file).write_all(line.as_bytes())?;
        file.sync_data()?;
        File::open(&self.dir)?.sync_all()?;
        end.bytes = line.len() as u64;
        (self.file, self.end) = (file, end);
        Ok(())
    }
}

fn line(keys: &Keys, end: &mut Checkpoint, event: &Event) -> io::Result<String> {
    let record = Record { seq: end.seq + 1, time_ms: now_ms(), event };
    let (line, tag) = keys.seal(&end.tag, &serde_json::to_string(&record)?);
    (end.seq, end.tag) = (record.seq, tag);
    Ok(line)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Follows the chain from the last checkpoint to the end of the log. Also the bytes behind its last whole line.
fn catch_up(dir: &Path, keys: &Keys, mut end: Checkpoint) -> Result<(Checkpoint, Option<Vec<u8>>), AuditError> {
    let mut at = segment::path(dir, end.segment);
    if end.segment > 0 && fs::metadata(&at).map_or(0, |file| file.len()) < end.bytes {
        return Err(tampered(format!("{} ends before its checkpoint", at.display())));
    }
    loop {
        let torn = if end.segment > 0 { follow(&at, keys, &mut end)? } else { None };
        let next = segment::path(dir, end.segment + 1);
        match (torn, next.exists()) {
            (torn, false) => return Ok((end, torn)),
            (Some(_), true) => return Err(tampered(format!("{} has no whole last line", at.display()))),
            (None, true) => {
                let mut begun = Checkpoint { segment: end.segment + 1, bytes: 0, ..end };
                follow(&next, keys, &mut begun)?;
                if begun.bytes == 0 {
                    // A crash between making the file and writing its first line: it will be begun again.
                    fs::remove_file(&next)?;
                    return Ok((end, None));
                }
                (end, at) = (begun, next);
            }
        }
    }
}

fn follow(path: &Path, keys: &Keys, end: &mut Checkpoint) -> Result<Option<Vec<u8>>, AuditError> {
    let mut lines = Lines::open(path, end.bytes)?;
    loop {
        match lines.next()? {
            Line::End => return Ok(None),
            Line::Torn(_) => return Ok(Some(std::mem::take(&mut lines.line))),
            Line::Whole => {
                let found = keys.check(&end.tag, &lines.line).filter(|checked| checked.holds);
                let found = found.ok_or_else(|| {
                    tampered(format!("record {} in {} does not continue the chain", end.seq + 1, path.display()))
                })?;
                *end = Checkpoint { segment: end.segment, bytes: lines.offset, seq: end.seq + 1, tag: found.tag };
            }
        }
    }
}

/// The tag as it stands in the log.
pub(super) fn hex_tag(text: &str) -> Option<Tag> {
    let mut tag = Tag::default();
    hex::decode_to_slice(text, &mut tag).ok().map(|()| tag)
}
