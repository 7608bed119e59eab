//! A file's bytes, mapped or read.

use std::ops::Deref;

use crate::mmap::Map;

#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Map),
    Read(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}
