//! Broken Hugging Face directories are refused with an error and without a panic.

use std::fs;
use std::path::Path;

use picollama::Base;
use proptest::prelude::*;
use serde_json::{Value, json};
use tureen_engine::{Checkpoint, CheckpointError};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SHARD: &str = "model-00001-of-00002.safetensors";

type Change = (&'static str, fn(&Path));

/// Changes a JSON file of the directory.
fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn set(dir: &Path, key: &str, value: Value) {
    edit(dir, "config.json", |config| config[key] = value);
}

fn model(dir: &Path, change: impl FnOnce(&mut Value)) {
    edit(dir, "tokenizer.json", |tokenizer| change(&mut tokenizer["model"]));
}

/// Changes the head of a safetensors file, whose data stays.
fn head(dir: &Path, file: &str, change: impl FnOnce(String) -> String) {
    let path = dir.join(file);
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (old, data) = bytes[8..].split_at(length);
    let new = change(String::from_utf8(old.to_vec()).unwrap());
    fs::write(path, [&(new.len() as u64).to_le_bytes(), new.as_bytes(), data].concat()).unwrap();
}

fn replace(dir: &Path, from: &str, to: &str) {
    head(dir, WEIGHTS, |head| {
        assert!(head.contains(from), "{head}");
        head.replacen(from, to, 1)
    });
}

fn cut(path: &Path, part: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / part]).unwrap();
}

const CHANGES: &[Change] = &[
    ("no configuration", |dir| fs::remove_file(dir.join("config.json")).unwrap()),
    ("a configuration cut short", |dir| cut(&dir.join("config.json"), 2)),
    ("a configuration that is a list", |dir| fs::write(dir.join("config.json"), "[]").unwrap()),
    ("deep nesting", |dir| fs::write(dir.join("config.json"), "[".repeat(1 << 20)).unwrap()),
    ("an unknown architecture", |dir| set(dir, "model_type", json!("gpt2"))),
    ("an unknown activation", |dir| set(dir, "hidden_act", json!("gelu"))),
    ("a bias in the feed-forward network", |dir| set(dir, "mlp_bias", json!(true))),
    ("a sliding window", |dir| set(dir, "use_sliding_window", json!(true))),
    ("a quantisation", |dir| set(dir, "quantization_config", json!({"quant_method": "gptq"}))),
    ("a part of each head rotated", |dir| set(dir, "partial_rotary_factor", json!(0.5))),
    ("no width", |dir| set(dir, "hidden_size", json!(null))),
    ("a width of zero", |dir| set(dir, "hidden_size", json!(0))),
    ("a width below zero", |dir| set(dir, "hidden_size", json!(-64))),
    ("a width of 2^63", |dir| set(dir, "hidden_size", json!(1_u64 << 63))),
    ("a width in words", |dir| set(dir, "hidden_size", json!("64"))),
    ("no heads", |dir| set(dir, "num_attention_heads", json!(0))),
    ("heads wider than the model", |dir| set(dir, "num_attention_heads", json!(128))),
    ("three key heads for four", |dir| set(dir, "num_key_value_heads", json!(3))),
    ("heads of odd width", |dir| set(dir, "head_dim", json!(15))),
    ("one layer too many", |dir| set(dir, "num_hidden_layers", json!(3))),
    ("one layer too few", |dir| set(dir, "num_hidden_layers", json!(1))),
    ("a million layers", |dir| set(dir, "num_hidden_layers", json!(1 << 20))),
    ("another vocabulary", |dir| set(dir, "vocab_size", json!(321))),
    ("an output projection that is not there", |dir| set(dir, "tie_word_embeddings", json!(false))),
    ("biases that are not there", |dir| set(dir, "attention_bias", json!(true))),
    ("an epsilon below zero", |dir| set(dir, "rms_norm_eps", json!(-1e-5))),
    ("a base of rotation of zero", |dir| set(dir, "rope_theta", json!(0))),
    ("an unknown scaling of rotation", |dir| set(dir, "rope_scaling", json!({"rope_type": "yarn", "factor": 2}))),
    ("a scaling without its factor", |dir| set(dir, "rope_scaling", json!({"type": "linear"}))),
    ("a scaling the wrong way round", |dir| {
        let scaling = json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1});
        set(dir, "rope_scaling", scaling);
    }),
    ("an end token below zero", |dir| set(dir, "eos_token_id", json!(-1))),
    ("end tokens in words", |dir| set(dir, "eos_token_id", json!(["<|im_end|>"]))),
    ("no weights", |dir| fs::remove_file(dir.join(WEIGHTS)).unwrap()),
    ("empty weights", |dir| fs::write(dir.join(WEIGHTS), "").unwrap()),
    ("weights cut short", |dir| cut(&dir.join(WEIGHTS), 2)),
    ("weights cut in their head", |dir| cut(&dir.join(WEIGHTS), 1000)),
    ("weights that are a directory", |dir| {
        fs::remove_file(dir.join(WEIGHTS)).unwrap();
        fs::create_dir(dir.join(WEIGHTS)).unwrap();
    }),
    ("a head of 2^64 - 1 bytes", |dir| fs::write(dir.join(WEIGHTS), u64::MAX.to_le_bytes()).unwrap()),
    ("a head of 64 MB", |dir| fs::write(dir.join(WEIGHTS), (64_u64 << 20).to_le_bytes()).unwrap()),
    ("a head that is no JSON", |dir| head(dir, WEIGHTS, |head| head.replace('{', "["))),
    ("an unknown type", |dir| replace(dir, "F32", "F64")),
    ("a type of other size", |dir| replace(dir, "F32", "F16")),
    ("a shape over 2^64", |dir| replace(dir, "[64]", "[9223372036854775807,9223372036854775807]")),
    ("a shape below zero", |dir| replace(dir, "[64]", "[-64]")),
    ("a shape of zero", |dir| replace(dir, "[64]", "[0]")),
    ("another shape", |dir| replace(dir, "[320,64]", "[64,320]")),
    ("offsets the wrong way round", |dir| {
        edit_tensor(dir, "model.norm.weight", |tensor| tensor["data_offsets"] = json!([256, 0]));
    }),
    ("offsets behind the file", |dir| {
        edit_tensor(dir, "model.norm.weight", |tensor| {
            tensor["data_offsets"] = json!([1_u64 << 40, (1_u64 << 40) + 256])
        });
    }),
    ("offsets of 2^64 - 1", |dir| {
        edit_tensor(dir, "model.norm.weight", |tensor| tensor["data_offsets"] = json!([u64::MAX - 256, u64::MAX]));
    }),
    ("tensors over each other", |dir| {
        edit_tensor(dir, "model.norm.weight", |tensor| tensor["data_offsets"] = json!([0, 256]));
        edit_tensor(dir, "model.layers.0.input_layernorm.weight", |tensor| tensor["data_offsets"] = json!([0, 256]));
    }),
    ("a tensor twice", |dir| replace(dir, "model.layers.1.input_layernorm", "model.layers.0.input_layernorm")),
    ("an unknown tensor", |dir| replace(dir, "model.norm.weight", "model.extra.weight")),
    ("no tokenizer", |dir| fs::remove_file(dir.join("tokenizer.json")).unwrap()),
    ("a tokenizer cut short", |dir| cut(&dir.join("tokenizer.json"), 2)),
    ("an empty tokenizer", |dir| fs::write(dir.join("tokenizer.json"), "{}").unwrap()),
    ("a tokenizer that is a number", |dir| fs::write(dir.join("tokenizer.json"), "7").unwrap()),
    ("a word-piece tokenizer", |dir| model(dir, |model| model["type"] = json!("WordPiece"))),
    ("a unigram tokenizer", |dir| model(dir, |model| model["type"] = json!("Unigram"))),
    ("two tokens of one id", |dir| model(dir, |model| model["vocab"]["a"] = model["vocab"]["b"].clone())),
    ("an id of 2^31", |dir| model(dir, |model| model["vocab"]["a"] = json!(1_u64 << 31))),
    ("an id below zero", |dir| model(dir, |model| model["vocab"]["a"] = json!(-1))),
    ("merges of numbers", |dir| model(dir, |model| model["merges"] = json!([1, 2]))),
    ("a merge of one part", |dir| model(dir, |model| model["merges"] = json!([["a"]]))),
    ("a merge of unknown parts", |dir| model(dir, |model| model["merges"] = json!(["日 本"]))),
    ("a merge to a very long token", |dir| {
        model(dir, |model| {
            model["vocab"]["x".repeat(1000)] = json!(319);
            model["merges"] = json!([["x".repeat(1000), "x".repeat(1000)]]);
        });
    }),
    ("a prefix of subwords", |dir| model(dir, |model| model["continuing_subword_prefix"] = json!("##"))),
    ("an unknown decoder", |dir| edit(dir, "tokenizer.json", |it| it["decoder"] = json!({"type": "CTC"}))),
    ("no decoder", |dir| edit(dir, "tokenizer.json", |it| it["decoder"] = json!(null))),
    ("an unknown pre-tokenizer", |dir| edit(dir, "tokenizer.json", |it| it["pre_tokenizer"] = json!({"type": "X"}))),
    ("a broken expression", |dir| {
        let split = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
        edit(dir, "tokenizer.json", |it| it["pre_tokenizer"] = split);
    }),
    ("an added token without content", |dir| {
        edit(dir, "tokenizer.json", |it| it["added_tokens"][0]["content"] = json!(""));
    }),
    ("an added token with an id of 2^31", |dir| {
        edit(dir, "tokenizer.json", |it| it["added_tokens"][0]["id"] = json!(1_u64 << 31));
    }),
    ("a broken template", |dir| fs::write(dir.join("chat_template.jinja"), "{% for").unwrap()),
    ("a template that is no text", |dir| fs::write(dir.join("chat_template.jinja"), [0xFF, 0xFE]).unwrap()),
];

fn edit_tensor(dir: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    head(dir, WEIGHTS, |head| {
        let mut value: Value = serde_json::from_str(&head).unwrap();
        change(&mut value[name]);
        value.to_string()
    });
}

/// Changes of a directory of two shards.
const SHARDED: &[Change] = &[
    ("no shard", |dir| fs::remove_file(dir.join(SHARD)).unwrap()),
    ("an index cut short", |dir| cut(&dir.join(INDEX), 2)),
    ("an index without a map", |dir| fs::write(dir.join(INDEX), "{}").unwrap()),
    ("a shard out of the directory", |dir| {
        edit(dir, INDEX, |index| index["weight_map"]["model.norm.weight"] = json!("../other/model.safetensors"));
    }),
    ("a shard by an absolute path", |dir| {
        edit(dir, INDEX, |index| index["weight_map"]["model.norm.weight"] = json!("/etc/model.safetensors"));
    }),
    ("a shard of another kind", |dir| {
        edit(dir, INDEX, |index| index["weight_map"]["model.norm.weight"] = json!("model.bin"));
    }),
    ("a tensor in the other shard", |dir| {
        edit(dir, INDEX, |index| {
            let other = match index["weight_map"]["model.norm.weight"] == SHARD {
                true => "model-00002-of-00002.safetensors",
                false => SHARD,
            };
            index["weight_map"]["model.norm.weight"] = json!(other);
        });
    }),
    ("the same tensors in both shards", |dir| {
        fs::copy(dir.join(SHARD), dir.join("model-00002-of-00002.safetensors")).unwrap();
    }),
];

#[test]
fn every_broken_directory_is_refused() {
    for (base, changes) in [(Base::llama(), CHANGES), (Base { shards: 2, ..Base::llama() }, SHARDED)] {
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            base.write(dir.path());
            change(dir.path());
            let error = Checkpoint::open(dir.path()).map(drop).expect_err(what);
            assert!(!error.to_string().is_empty(), "{what}");
        }
    }
    assert!(CHANGES.len() + SHARDED.len() >= 60);
}

#[test]
fn all_differences_of_the_weights_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    Base::llama().write(dir.path());
    replace(dir.path(), "model.norm.weight", "model.extra.weight");
    replace(dir.path(), "[320,64]", "[64,320]");
    let Err(CheckpointError::Weights(problems)) = Checkpoint::open(dir.path()) else { panic!("accepted") };
    let expected = [
        "model.embed_tokens.weight is [64, 320], expected [320, 64]",
        "model.norm.weight is missing",
        "model.extra.weight is unknown",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn what_other_writers_leave_in_a_directory_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let written = Base::llama().write(dir.path());
    // A list of end tokens, named templates, tokens as objects.
    fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [2, 0, 2]}"#).unwrap();
    edit(dir.path(), "tokenizer_config.json", |settings| {
        settings["chat_template"] = json!([
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"},
        ]);
        settings["bos_token"] = json!({"content": "<|endoftext|>", "lstrip": false});
    });
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.config().eos_token_ids, [0, 2]);
    assert_eq!(checkpoint.sha256(), written.sha256);
    let message = tureen_engine::Message { role: "user".into(), content: "Hi".into() };
    let rendered = checkpoint.chat_template().unwrap().render(std::slice::from_ref(&message), true).unwrap();
    assert_eq!(rendered, "<|endoftext|>Hi");
    // A file of its own goes first.
    fs::write(dir.path().join("chat_template.jinja"), "{{ eos_token }}").unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.chat_template().unwrap().render(&[message], true).unwrap(), "<|im_end|>");
}

#[test]
fn a_copy_of_a_tied_embedding_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    Base { tie: false, ..Base::llama() }.write(dir.path());
    assert!(Checkpoint::open(dir.path()).unwrap().shape("lm_head.weight").is_some());
    set(dir.path(), "tie_word_embeddings", json!(true));
    assert!(Checkpoint::open(dir.path()).unwrap().shape("lm_head.weight").is_none());
}

#[test]
fn settings_of_rotation_are_read_in_both_spellings() {
    let dir = tempfile::tempdir().unwrap();
    Base::llama().write(dir.path());
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 128});
    set(dir.path(), "rope_scaling", scaling.clone());
    set(dir.path(), "rope_theta", json!(500000.0));
    let old = Checkpoint::open(dir.path()).unwrap().config().clone();
    let mut parameters = scaling;
    parameters["rope_theta"] = json!(500000.0);
    edit(dir.path(), "config.json", |config| {
        config.as_object_mut().unwrap().retain(|key, _| !key.starts_with("rope_"));
        config["rope_parameters"] = parameters;
    });
    let new = Checkpoint::open(dir.path()).unwrap().config().clone();
    assert!(old == new && old.rope_theta == 500_000.0 && old.rope_scaling.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(
        file in prop::sample::select(vec!["config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        Base::llama().write(dir.path());
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len().min(12_000);
        for (place, byte) in changes {
            bytes[place.index(end)] = byte;
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(dir.path()) {
            let ids = checkpoint.tokenizer().encode("Hello, world", true).unwrap_or_default();
            checkpoint.tokenizer().decode(&ids);
        }
    }
}
