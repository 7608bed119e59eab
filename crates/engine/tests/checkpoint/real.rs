//! The real base model.

use std::path::Path;

use tureen_engine::{Checkpoint, Message};

fn open() -> Checkpoint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing: run `cargo run -- pull`", path.display());
    Checkpoint::open(&path).unwrap()
}

#[test]
fn the_base_model_opens() {
    let checkpoint = open();
    assert_eq!(checkpoint.name(), "SmolLM2-135M-Instruct");
    let config = checkpoint.config();
    assert_eq!(
        (config.num_hidden_layers, config.hidden_size, config.head_dim, config.vocab_size),
        (30, 576, 64, 49152)
    );
    assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-5, 100_000.0));
    assert!(config.tie_word_embeddings && config.eos_token_ids == [2] && config.bos_token_id == Some(1));
    assert_eq!(checkpoint.names().len(), 272);
    assert_eq!(checkpoint.shape("model.layers.29.self_attn.k_proj.weight"), Some(&[192, 576][..]));
    let norm = checkpoint.tensor("model.norm.weight").unwrap().to_vec1::<f32>().unwrap();
    assert!(norm.iter().all(|value| value.is_finite()));

    let tokenizer = checkpoint.tokenizer();
    let ids = tokenizer.encode("Hello, world! 2024 日本語 😀", false).unwrap();
    assert_eq!(tokenizer.decode(&ids), "Hello, world! 2024 日本語 😀");
    let message = Message { role: "user".into(), content: "Hi".into() };
    let text = checkpoint.chat_template().unwrap().render(&[message], true).unwrap();
    assert!(text.ends_with("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"), "{text}");
    assert_eq!(tokenizer.encode(&text, false).unwrap()[0], 1);
}
