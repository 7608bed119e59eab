//! Every encoding of a GGUF is decoded as the `gguf` package decodes it (`data/make.py`), to the last bits.

use crate::support::Gguf;
use picollama::{Base, GgufType};
use serde::Deserialize;
use tureen_engine::Checkpoint;

#[derive(Deserialize)]
struct Golden {
    name: String,
    code: u32,
    bytes: String,
    bits: Vec<u32>,
}

#[test]
fn all_encodings_agree_with_the_reference() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("../data/quantised.json")).unwrap();
    assert_eq!(golden.len(), 12);
    // Rows of the K-quants are multiples of 256 wide.
    let base = Base { hidden: 256, intermediate: 256, ..Base::llama() };
    let whole = Gguf::of(&base, GgufType::F32);
    let dir = tempfile::tempdir().unwrap();
    for Golden { name, code, bytes, bits } in golden {
        let block: Vec<u8> =
            (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
        let repeats = 256 * 256 / bits.len();
        let mut gguf = whole.clone();
        let info = gguf.tensor("blk.1.ffn_up.weight");
        (info.code, info.offset) = (code, whole.data.len() as u64);
        gguf.data.extend(block.repeat(repeats));
        let path = dir.path().join("tiny.gguf");
        gguf.write(&path);
        let tensor = Checkpoint::open(&path).unwrap().tensor("model.layers.1.mlp.up_proj.weight").unwrap();
        let decoded = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = bits.iter().map(|&bits| f32::from_bits(bits)).cycle().take(decoded.len());
        for (place, (ours, theirs)) in decoded.into_iter().zip(expected).enumerate() {
            // The order of multiplying scales may differ, so the last bits may.
            let close = (ours - theirs).abs() <= 2e-6 * theirs.abs().max(1.0);
            assert!(close || ours.to_bits() == theirs.to_bits(), "{name}: value {place} is {ours}, expected {theirs}");
        }
    }
}
