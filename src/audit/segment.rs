//! The files of the log, and reading them line by line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Lines are bounded by what requests are; one that is longer was not written by us.
const LONGEST_LINE: u64 = 64 << 20;

/// `audit-00000001.jsonl`
pub(super) fn path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("audit-{segment:08}.jsonl"))
}

/// The numbers of the segments that are there, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok());
        found.extend(number.filter(|number| path(dir, *number).file_name() == Some(&name)));
    }
    found.sort_unstable();
    Ok(found)
}

/// One line, or what stands there instead.
pub(super) enum Line {
    /// Whole, without its newline.
    Whole,
    /// The end of the file came first, after this many bytes.
    Torn(u64),
    End,
}

/// Reads a segment from a place on.
pub(super) struct Lines {
    file: BufReader<File>,
    /// The line that was read last.
    pub(super) line: Vec<u8>,
    /// Where the next one begins.
    pub(super) offset: u64,
}

impl Lines {
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file: BufReader::with_capacity(1 << 18, file), line: Vec::new(), offset })
    }

    pub(super) fn next(&mut self) -> io::Result<Line> {
        use std::io::Read;
        self.line.clear();
        let read = self.file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)? as u64;
        if self.line.last() != Some(&b'\n') {
            return Ok(if read == 0 { Line::End } else { Line::Torn(read) });
        }
        self.line.pop();
        self.offset += read;
        Ok(Line::Whole)
    }
}
