//! Tiny checkpoints: a GGUF gives the names, shapes and values that it was written from.

use picollama::{Base, GgufType};
use tureen_engine::Checkpoint;

/// Largest difference that an encoding may cost, as a part of the tensor's largest value: half a step, a whole one for
/// Q4_0 (whose range ends one step earlier on one side), and the rounding of scale and minimum to 16 bits.
fn allowed(gguf_type: GgufType) -> f32 {
    match gguf_type {
        GgufType::F32 => 0.0,
        GgufType::F16 => 1.0 / 2048.0,
        GgufType::Bf16 => 1.0 / 256.0,
        GgufType::Q8_0 => 1.1 / 254.0,
        GgufType::Q4_0 => 1.01 / 8.0,
        GgufType::Q4_1 => 1.02 / 15.0,
    }
}

fn compare(base: &Base, gguf_type: GgufType) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("tiny.{gguf_type:?}.gguf"));
    let written = base.write_gguf(&path, gguf_type);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!((checkpoint.name(), written.name.as_str()), ("tiny", "tiny"));
    assert_eq!(checkpoint.sha256(), written.sha256);
    assert_eq!(checkpoint.vocabulary_sha256(), written.vocabulary_sha256);
    let tensors = base.tensors();
    assert_eq!(checkpoint.names(), tensors.keys().cloned().collect::<Vec<_>>());
    for (name, (shape, values)) in &tensors {
        assert_eq!(checkpoint.shape(name), Some(shape.as_slice()), "{name}");
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!(tensor.dims(), shape, "{name}");
        let decoded = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let worst = decoded.iter().zip(values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        assert!(worst <= allowed(gguf_type) * largest, "{name} differs by {worst} as {gguf_type:?}");
    }
}

#[test]
fn every_encoding_of_a_gguf_gives_the_weights_back() {
    use GgufType::{Bf16, F16, F32, Q4_0, Q4_1, Q8_0};
    for gguf_type in [F32, F16, Bf16, Q8_0, Q4_0, Q4_1] {
        compare(&Base::llama(), gguf_type);
        compare(&Base::qwen2(), gguf_type);
    }
}

#[test]
fn a_directory_gives_the_weights_back() {
    for shards in [1, 3] {
        for base in [Base { shards, ..Base::llama() }, Base { shards, ..Base::qwen2() }] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("tiny");
            let written = base.write(&path);
            let checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!(checkpoint.name(), written.name);
            assert_eq!(checkpoint.sha256(), written.sha256);
            assert_eq!(checkpoint.vocabulary_sha256(), written.vocabulary_sha256);
            let tensors = base.tensors();
            assert_eq!(checkpoint.names(), tensors.keys().cloned().collect::<Vec<_>>());
            for (name, (shape, values)) in &tensors {
                let tensor = checkpoint.tensor(name).unwrap();
                assert_eq!(tensor.dims(), shape, "{name}");
                assert!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap() == *values, "{name}");
            }
        }
    }
}

#[test]
fn both_formats_give_the_same_model() {
    for base in [Base::llama(), Base::qwen2()] {
        let dir = tempfile::tempdir().unwrap();
        base.write(&dir.path().join("tiny"));
        base.write_gguf(&dir.path().join("tiny.gguf"), GgufType::F32);
        let directory = Checkpoint::open(&dir.path().join("tiny")).unwrap();
        let gguf = Checkpoint::open(&dir.path().join("tiny.gguf")).unwrap();
        assert_eq!(directory.config(), gguf.config());
        assert_eq!(directory.name(), gguf.name());
        assert_eq!(directory.vocabulary_sha256(), gguf.vocabulary_sha256());
        for text in ["The cat is in the hat.", "  12 345\n\n\tÅ é 日本 😀", "<|im_start|>user\nx<|im_end|>"] {
            let ids = directory.tokenizer().encode(text, true).unwrap();
            assert_eq!(ids, gguf.tokenizer().encode(text, true).unwrap(), "{text}");
        }
        assert_eq!(directory.chat_template().unwrap().source(), gguf.chat_template().unwrap().source());
    }
}

#[test]
fn halves_are_widened() {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    let dir = tempfile::tempdir().unwrap();
    let base = Base::llama();
    base.write(dir.path());
    for dtype in [Dtype::F16, Dtype::BF16] {
        let tensors = base.tensors();
        let encoded: Vec<_> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| match dtype {
                        Dtype::F16 => half::f16::from_f32(*value).to_le_bytes(),
                        _ => half::bf16::from_f32(*value).to_le_bytes(),
                    })
                    .collect();
                (name, shape.clone(), bytes)
            })
            .collect();
        let views = encoded
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        for (name, (_, values)) in &tensors {
            let decoded = checkpoint.tensor(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let exact = values.iter().map(|value| match dtype {
                Dtype::F16 => half::f16::from_f32(*value).to_f32(),
                _ => half::bf16::from_f32(*value).to_f32(),
            });
            assert!(decoded.into_iter().eq(exact), "{name}");
        }
    }
}
