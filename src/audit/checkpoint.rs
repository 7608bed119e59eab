//! How far the log goes, signed: a log that ends earlier was cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{Keys, Tag};
use super::{AuditError, tampered};

pub(super) const FILE: &str = "checkpoint.json";

/// The end of the log when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) segment: u32,
    /// Bytes of that segment.
    pub(super) bytes: u64,
    /// Of the last record.
    pub(super) seq: u64,
    pub(super) tag: Tag,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    segment: u32,
    bytes: u64,
    seq: u64,
    mac: String,
    signature: String,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{} {} {} {}", self.segment, self.bytes, self.seq, hex::encode(self.tag))
    }

    /// Replaces the one in `dir`. The rename is one step: a crash leaves the old one or the new one.
    pub(super) fn write(&self, dir: &Path, keys: &Keys, sync: bool) -> io::Result<()> {
        let Self { segment, bytes, seq, tag } = *self;
        let signature = keys.sign(&self.text());
        let written = Written { segment, bytes, seq, mac: hex::encode(tag), signature };
        let text = written.text()?;
        let part = dir.join(".checkpoint.part");
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        if sync {
            file.sync_data()?;
        }
        fs::rename(part, dir.join(FILE))
    }

    /// Reads a checkpoint; `None` when there is none.
    pub(super) fn read(path: &Path, keys: &Keys) -> Result<Option<Self>, AuditError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(unsigned(path)),
            Err(e) => return Err(AuditError::Io(e)),
        };
        let written: Written = serde_json::from_str(&text).map_err(|_| unsigned(path))?;
        let mut tag = Tag::default();
        hex::decode_to_slice(&written.mac, &mut tag).map_err(|_| unsigned(path))?;
        let Written { segment, bytes, seq, .. } = written;
        let checkpoint = Self { segment, bytes, seq, tag };
        // There is one way to write it.
        let same = keys.sign(&checkpoint.text()) == written.signature && written.text()? == text;
        if same && hex::encode(tag) == written.mac { Ok(Some(checkpoint)) } else { Err(unsigned(path)) }
    }
}

impl Written {
    fn text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

fn unsigned(path: &Path) -> AuditError {
    tampered(format!("{} is not signed with this key", path.display()))
}
