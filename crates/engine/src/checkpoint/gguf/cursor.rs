//! Reads numbers and strings, and never believes a length before it has seen that the file has as many bytes.

use std::io::Read;

use crate::checkpoint::gguf::GgufError;

/// Longest string accepted: a chat template has some 10 KiB.
const MAX_STRING: u64 = 1 << 22;

pub(crate) struct Cursor<R> {
    reader: R,
    position: u64,
    end: u64,
}

impl<R: Read> Cursor<R> {
    /// `end`: length of the file.
    pub(crate) fn new(reader: R, end: u64) -> Self {
        Self { reader, position: 0, end }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Refuses `count` items of at least `size` bytes each if the file cannot hold them.
    pub(crate) fn require(&self, what: &'static str, count: u64, size: u64) -> Result<(), GgufError> {
        let (needed, left) = (count.saturating_mul(size), self.end.saturating_sub(self.position));
        if needed > left { Err(GgufError::Truncated { what, needed, left }) } else { Ok(()) }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        self.require(what, 1, N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string; bytes that are not UTF-8 become U+FFFD, since descriptive keys of real files have such.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<String, GgufError> {
        let length = self.u64(what)?;
        self.require(what, length, 1)?;
        if length > MAX_STRING {
            return Err(GgufError::TooMany { what: "bytes in a string", count: length, limit: MAX_STRING });
        }
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes)?;
        self.position += length;
        Ok(match String::from_utf8(bytes) {
            Ok(string) => string,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }
}
