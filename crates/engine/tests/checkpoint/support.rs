//! Takes a GGUF file apart, so that a test can change a part and put it together again.

use std::path::Path;

use picollama::{Base, GgufType};

pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// Key, and type code with value as in the file.
    pub(crate) metadata: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<Info>,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Info {
    pub(crate) name: String,
    /// Fastest dimension first.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) code: u32,
    pub(crate) offset: u64,
}

impl Gguf {
    /// What picollama writes for `base`.
    pub(crate) fn of(base: &Base, gguf_type: GgufType) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base.gguf");
        base.write_gguf(&path, gguf_type);
        Self::parse(&std::fs::read(path).unwrap())
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut reader = Reader { bytes, at: 0 };
        let magic = reader.take(4).try_into().unwrap();
        let version = reader.u32();
        let (tensors, keys) = (reader.u64(), reader.u64());
        let metadata = (0..keys).map(|_| (reader.string(), reader.typed_value())).collect();
        let tensors = (0..tensors)
            .map(|_| Info {
                name: reader.string(),
                dimensions: (0..reader.u32()).map(|_| reader.u64()).collect(),
                code: reader.u32(),
                offset: reader.u64(),
            })
            .collect();
        Self { magic, version, metadata, tensors, data: bytes[reader.at.next_multiple_of(32)..].to_vec() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        for info in &self.tensors {
            bytes.extend(string(&info.name));
            bytes.extend((info.dimensions.len() as u32).to_le_bytes());
            bytes.extend(info.dimensions.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(info.code.to_le_bytes());
            bytes.extend(info.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }

    /// Sets a key to a value of the type `code`.
    pub(crate) fn set(&mut self, key: &str, code: u32, value: &[u8]) {
        let value = [&code.to_le_bytes(), value].concat();
        match self.metadata.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn set_u32(&mut self, key: &str, value: u32) {
        self.set(key, 4, &value.to_le_bytes());
    }

    pub(crate) fn set_bool(&mut self, key: &str, value: bool) {
        self.set(key, 7, &[u8::from(value)]);
    }

    pub(crate) fn set_text(&mut self, key: &str, value: &str) {
        self.set(key, STRING, &string(value));
    }

    pub(crate) fn set_strings<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        let elements: Vec<u8> = values.iter().flat_map(|value| string(value.as_ref())).collect();
        self.set_array(key, STRING, values.len() as u64, &elements);
    }

    /// An array that claims `count` elements of the type `code`, whatever `elements` are.
    pub(crate) fn set_array(&mut self, key: &str, code: u32, count: u64, elements: &[u8]) {
        self.set(key, ARRAY, &[&code.to_le_bytes()[..], &count.to_le_bytes(), elements].concat());
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.retain(|(other, _)| other != key);
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut Info {
        self.tensors.iter_mut().find(|info| info.name == name).unwrap()
    }
}

/// A string as the format writes it.
pub(crate) fn string(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    /// Type code and value.
    fn typed_value(&mut self) -> Vec<u8> {
        let start = self.at;
        let code = self.u32();
        self.skip(code);
        self.bytes[start..self.at].to_vec()
    }

    fn skip(&mut self, code: u32) {
        match code {
            0 | 1 | 7 => drop(self.take(1)),
            2 | 3 => drop(self.take(2)),
            4..=6 => drop(self.take(4)),
            10..=12 => drop(self.take(8)),
            STRING => drop(self.string()),
            ARRAY => {
                let (code, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip(code));
            }
            code => panic!("type {code}"),
        }
    }
}
