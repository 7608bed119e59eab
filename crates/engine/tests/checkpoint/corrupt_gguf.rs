//! Broken GGUF files are refused with an error, without a panic and without believing their sizes.

use std::path::Path;

use crate::support::{Gguf, STRING, string};
use picollama::{Base, GgufType};
use proptest::prelude::*;
use tureen_engine::{Checkpoint, CheckpointError};

type Change = (&'static str, fn(&mut Gguf));

const CHANGES: &[Change] = &[
    ("magic", |gguf| gguf.magic = *b"GGUE"),
    ("version 1", |gguf| gguf.version = 1),
    ("version of the other byte order", |gguf| gguf.version = 3 << 24),
    ("no architecture", |gguf| gguf.remove("general.architecture")),
    ("another architecture", |gguf| gguf.set_text("general.architecture", "mamba")),
    ("architecture as a number", |gguf| gguf.set_u32("general.architecture", 1)),
    ("a mixture of experts", |gguf| gguf.set_u32("llama.expert_count", 8)),
    ("one of two parts", |gguf| gguf.set("split.count", 2, &2_u16.to_le_bytes())),
    ("no layers", |gguf| gguf.set_u32("llama.block_count", 0)),
    ("one layer too many", |gguf| gguf.set_u32("llama.block_count", 3)),
    ("one layer too few", |gguf| gguf.set_u32("llama.block_count", 1)),
    ("two billion layers", |gguf| gguf.set_u32("llama.block_count", u32::MAX)),
    ("layers below zero", |gguf| gguf.set("llama.block_count", 5, &(-1_i32).to_le_bytes())),
    ("no width", |gguf| gguf.remove("llama.embedding_length")),
    ("another width", |gguf| gguf.set_u32("llama.embedding_length", 128)),
    ("no heads", |gguf| gguf.set_u32("llama.attention.head_count", 0)),
    ("three key heads for four", |gguf| gguf.set_u32("llama.attention.head_count_kv", 3)),
    ("heads by layer", |gguf| gguf.set_array("llama.attention.head_count", 4, 2, &[4, 0, 0, 0, 4, 0, 0, 0])),
    ("heads of odd width", |gguf| gguf.set_u32("llama.rope.dimension_count", 15)),
    ("a part of each head rotated", |gguf| gguf.set_u32("llama.attention.key_length", 32)),
    ("no context", |gguf| gguf.remove("llama.context_length")),
    ("an epsilon that is no number", |gguf| {
        gguf.set("llama.attention.layer_norm_rms_epsilon", 6, &f32::NAN.to_le_bytes());
    }),
    ("an infinite base of rotation", |gguf| gguf.set("llama.rope.freq_base", 6, &f32::INFINITY.to_le_bytes())),
    ("an unknown scaling of rotation", |gguf| gguf.set_text("llama.rope.scaling.type", "yarn")),
    ("alignment zero", |gguf| gguf.set_u32("general.alignment", 0)),
    ("alignment over the file", |gguf| gguf.set_u32("general.alignment", 1 << 20)),
    ("a key twice", |gguf| gguf.metadata.push(gguf.metadata[0].clone())),
    ("an unknown type", |gguf| gguf.set("x", 13, &[0; 8])),
    ("an array of arrays", |gguf| gguf.set_array("x", 9, 1, &[0; 16])),
    ("an array of 2^63 bytes", |gguf| gguf.set_array("x", 0, 1 << 63, &[])),
    ("an array of 2^61 doubles", |gguf| gguf.set_array("x", 12, 1 << 61, &[])),
    ("an array of 2^60 strings", |gguf| gguf.set_array("x", STRING, 1 << 60, &[])),
    ("a string of 2^62 bytes", |gguf| gguf.set("x", STRING, &(1_u64 << 62).to_le_bytes())),
    ("a string of 2^64 - 1 bytes", |gguf| gguf.set("x", STRING, &u64::MAX.to_le_bytes())),
    ("no tensors", |gguf| gguf.tensors.clear()),
    ("a tensor missing", |gguf| drop(gguf.tensors.remove(3))),
    ("a tensor twice", |gguf| gguf.tensors.push(gguf.tensors[0].clone())),
    ("an unknown tensor", |gguf| gguf.tensor("output_norm.weight").name = "blk.0.ssm_a".into()),
    ("a layer that is no number", |gguf| gguf.tensor("blk.0.attn_norm.weight").name = "blk.x.attn_norm.weight".into()),
    ("an unknown encoding", |gguf| gguf.tensors[0].code = 99),
    ("an encoding that is gone", |gguf| gguf.tensors[0].code = 4),
    ("five dimensions", |gguf| gguf.tensors[0].dimensions = vec![1; 5]),
    ("4 billion dimensions", |gguf| gguf.tensors[0].dimensions = vec![1; 2000]),
    ("no dimension", |gguf| gguf.tensors[0].dimensions.clear()),
    ("a dimension of zero", |gguf| gguf.tensors[0].dimensions[0] = 0),
    ("dimensions over 2^64", |gguf| gguf.tensors[0].dimensions = vec![1 << 32, 1 << 32, 2]),
    ("a dimension of 2^64 - 1", |gguf| gguf.tensors[0].dimensions[0] = u64::MAX),
    ("more bytes than the file", |gguf| gguf.tensors[0].dimensions[1] = 1 << 40),
    ("dimensions the other way round", |gguf| gguf.tensor("blk.0.ffn_down.weight").dimensions.reverse()),
    ("an offset behind the file", |gguf| gguf.tensors[0].offset = 1 << 40),
    ("an offset of 2^64 - 1", |gguf| gguf.tensors[0].offset = u64::MAX),
    ("tensors over each other", |gguf| gguf.tensors[1].offset = gguf.tensors[0].offset),
    ("data cut short", |gguf| gguf.data.truncate(gguf.data.len() / 2)),
    ("no vocabulary", |gguf| gguf.remove("tokenizer.ggml.tokens")),
    ("a vocabulary of numbers", |gguf| gguf.set_array("tokenizer.ggml.tokens", 4, 1, &[0; 4])),
    ("a token twice", |gguf| gguf.set_strings("tokenizer.ggml.tokens", &["a", "a"])),
    ("no merges", |gguf| gguf.remove("tokenizer.ggml.merges")),
    ("a merge of one part", |gguf| gguf.set_strings("tokenizer.ggml.merges", &["ab"])),
    ("an empty merge", |gguf| gguf.set_strings("tokenizer.ggml.merges", &[""])),
    ("a merge to no token", |gguf| gguf.set_strings("tokenizer.ggml.merges", &["q zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"])),
    ("an unknown tokenizer", |gguf| gguf.set_text("tokenizer.ggml.model", "bert")),
    ("an unknown pre-tokenizer", |gguf| gguf.set_text("tokenizer.ggml.pre", "viking")),
    ("pieces without scores", |gguf| gguf.set_text("tokenizer.ggml.model", "llama")),
    ("fewer scores than pieces", |gguf| {
        gguf.set_text("tokenizer.ggml.model", "llama");
        gguf.set_array("tokenizer.ggml.scores", 6, 1, &[0; 4]);
    }),
    ("a template that does not end", |gguf| gguf.set_text("tokenizer.chat_template", "{% for message in messages %}")),
    ("a template as a number", |gguf| gguf.set_u32("tokenizer.chat_template", 7)),
    ("rotary divisors of another width", |gguf| {
        let mut info = gguf.tensors[0].clone();
        info.name = "rope_freqs.weight".into();
        info.dimensions = vec![4];
        info.code = 0;
        info.offset = gguf.data.len() as u64;
        gguf.data.extend([0; 32]);
        gguf.tensors.push(info);
    }),
];

fn open(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    std::fs::write(path, bytes).unwrap();
    Checkpoint::open(path)
}

#[test]
fn every_broken_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.gguf");
    let whole = Gguf::of(&Base::llama(), GgufType::Q4_0);
    open(&path, &whole.bytes()).unwrap();
    let before = peak();
    for (what, change) in CHANGES {
        let mut gguf = whole.clone();
        change(&mut gguf);
        let error = open(&path, &gguf.bytes()).map(drop).expect_err(what);
        assert!(!error.to_string().is_empty(), "{what}");
    }
    // The lies are of a TiB and more; threads of other tests reserve some GiB of addresses at most.
    assert!(peak() - before < 16 << 30, "opening broken files took {} bytes", peak() - before);
    assert!(CHANGES.len() >= 60);
}

/// Largest address space that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    let whole = Gguf::of(&Base::llama(), GgufType::Q4_1).bytes();
    // The last tensor ends on the alignment, so that every cut takes something away.
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        open(&path, &whole[..length]).map(drop).expect_err("a part of a file");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::NotACheckpoint(_))));
    assert!(matches!(Checkpoint::open(&dir.path().join("none.gguf")), Err(CheckpointError::Io { .. })));
}

#[test]
fn a_file_written_to_after_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.gguf");
    let whole = Gguf::of(&Base::llama(), GgufType::F32).bytes();
    let checkpoint = open(&path, &whole).unwrap();
    checkpoint.tensor("model.norm.weight").unwrap();
    // Renaming over it is safe: the open file stays what it was.
    std::fs::write(dir.path().join("new"), b"other").unwrap();
    std::fs::rename(dir.path().join("new"), &path).unwrap();
    checkpoint.tensor("model.norm.weight").unwrap();

    let checkpoint = open(&path, &whole).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    checkpoint.tensor("model.norm.weight").unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = WHOLE.clone();
        // The head ends before a fifth of the file; changed weights alone are not this format's business.
        let head = bytes.len() / 5;
        for (place, byte) in changes {
            bytes[place.index(head)] = byte;
        }
        if let Ok(checkpoint) = open(&dir.path().join("changed.gguf"), &bytes) {
            for name in checkpoint.names() {
                let _ = checkpoint.tensor(&name);
            }
            let ids = checkpoint.tokenizer().encode("Hello, world", true).unwrap();
            checkpoint.tokenizer().decode(&ids);
        }
    }
}

static WHOLE: std::sync::LazyLock<Vec<u8>> =
    std::sync::LazyLock::new(|| Gguf::of(&Base::llama(), GgufType::Q4_1).bytes());

#[test]
fn the_support_puts_a_file_together_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.gguf");
    Base::qwen2().write_gguf(&path, GgufType::Q8_0);
    let bytes = std::fs::read(&path).unwrap();
    assert!(Gguf::parse(&bytes).bytes() == bytes);
    assert_eq!(string("ab"), [2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
}
