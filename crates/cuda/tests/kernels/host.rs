//! The kernels as programs of the host.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use half::bf16;
use tempfile::TempDir;

/// A kernel's text, compiled once, with sanitizers.
pub(crate) struct Program(TempDir);

/// kernels/soup.cu: a step over the end of an array or a crooked vector ends it.
static SOUP: LazyLock<Program> = LazyLock::new(|| Program::compile("host.c", "address,undefined"));

impl Program {
    /// Compiles a source beside this file.
    pub(crate) fn compile(source: &str, sanitizers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels").join(source);
        let status = Command::new("cc")
            .args(["-std=c11", "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-ffp-contract=off"])
            .args([&format!("-fsanitize={sanitizers}"), "-fno-sanitize-recover", "-o"])
            .args([&folder.path().join("host"), &source])
            .args(["-lm", "-pthread"])
            .status()
            .unwrap();
        assert!(status.success(), "the kernels' text is no C any more: {status}");
        Self(folder)
    }

    /// Runs a kernel with a grid of 3 blocks of 5 threads: few enough to go round, and no divisor of anything.
    pub(crate) fn run(&self, kernel: &str, numbers: &[usize], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(self.0.path().join("host"))
            .arg(kernel)
            .args(["3", "5"])
            .args(numbers.iter().map(usize::to_string))
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It reads all before it writes any.
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{kernel} {numbers:?}: {}", output.status);
        output.stdout
    }
}

/// Runs a kernel of kernels/soup.cu.
pub(crate) fn run(kernel: &str, numbers: &[usize], input: &[u8]) -> Vec<u8> {
    SOUP.run(kernel, numbers, input)
}

/// Bytes of an array, as both sides lay it out.
pub(crate) trait Bytes: Copy {
    fn append(self, bytes: &mut Vec<u8>);
}

impl Bytes for bf16 {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

impl Bytes for f32 {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

impl Bytes for u32 {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

pub(crate) fn bytes<T: Bytes>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.append(&mut bytes));
    bytes
}

pub(crate) fn as_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

pub(crate) fn as_bf16(bytes: &[u8]) -> Vec<bf16> {
    bytes.as_chunks::<2>().0.iter().map(|bytes| bf16::from_le_bytes(*bytes)).collect()
}

pub(crate) fn as_u32(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}
