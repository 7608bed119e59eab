//! Faults of a GGUF file.

/// What is wrong with a GGUF file. Sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The first four bytes are others.
    #[error("not a GGUF file (it starts with {0:02x?})")]
    Magic([u8; 4]),
    /// A version of the format that this reader does not know.
    #[error("GGUF version {0} is unknown (2 and 3 are)")]
    Version(u32),
    /// The file ends inside of something, or a length lies.
    #[error("{what} needs {needed} bytes, {left} are left in the file")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: u64,
    },
    /// A count over the reader's limit.
    #[error("{count} {what}, at most {limit} are accepted")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many the file announces.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// A type code of the metadata that the format does not have, or an array of arrays.
    #[error("metadata type {0} is unknown")]
    ValueType(u32),
    /// A key or tensor name occurs twice.
    #[error("{0} occurs twice")]
    Duplicate(String),
    /// A required key is missing.
    #[error("key {0} is missing")]
    MissingKey(String),
    /// A key holds another type or an impossible value.
    #[error("key {key} should hold {expected}")]
    Value {
        /// The key.
        key: String,
        /// What is expected there.
        expected: &'static str,
    },
    /// A tensor's encoding is unknown.
    #[error("tensor {name} has type {code}, which is not supported")]
    TensorType {
        /// The tensor.
        name: String,
        /// Its type in ggml's numbering.
        code: u32,
    },
    /// A tensor's dimensions are impossible.
    #[error("tensor {name} has impossible dimensions {dimensions:?}")]
    Dimensions {
        /// The tensor.
        name: String,
        /// The dimensions in the file's order, fastest first.
        dimensions: Vec<u64>,
    },
    /// A tensor lies outside of the file or off the alignment.
    #[error("tensor {name} at offset {offset} ({size} bytes) does not lie in the file's data")]
    Placement {
        /// The tensor.
        name: String,
        /// Offset in the data section.
        offset: u64,
        /// Bytes it needs.
        size: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors {0} and {1} overlap")]
    Overlap(String, String),
    /// The operating system refused to read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
