//! The one place that maps a file into memory, and the only unsafe code of the crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// A file's bytes, mapped read-only.
///
/// The contract, with whoever owns the pool's folder: a file that is being served is replaced by renaming another one
/// over it, or unlinked; both leave the mapped one as it is. A file that is overwritten in place changes under the
/// map, and one that is truncated kills the process (SIGBUS) when the lost part is read. Neither can be prevented from
/// here, so [`PoolFile`](crate::file::PoolFile) keeps the file open and tells when it was touched; `weights = "read"`
/// avoids maps altogether.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// When the system refuses the map, an empty one among others.
    pub(crate) fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // SAFETY: the map is private to this type, read-only, and lives as long as the slices taken from it. That
        // nobody else writes to the file is the contract above. Where it is broken, slices of `u8` hold other bytes
        // than before, each of them still a valid `u8`; nothing that was derived from them (lengths, offsets) is kept
        // but after the file's sha256 was compared, and offsets are taken with bounds checks.
        unsafe { MmapOptions::new().len(len).map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
