//! A soup as a candle backend: an architecture of candle-transformers that is not LLaMA, built tensor by tensor.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::qwen2;
use picollama::Base;
use tureen_engine::{PathChoice, SoupBackend};
use tureen_soup::Method;

use crate::common::{Fixture, policies, prompt};
use crate::oracle;

fn qwen2(fixture: &Fixture, backend: SoupBackend) -> qwen2::ModelForCausalLM {
    let c = fixture.checkpoint.config();
    let config = qwen2::Config {
        vocab_size: c.vocab_size,
        hidden_size: c.hidden_size,
        intermediate_size: c.intermediate_size,
        num_hidden_layers: c.num_hidden_layers,
        num_attention_heads: c.num_attention_heads,
        num_key_value_heads: c.num_key_value_heads,
        max_position_embeddings: c.max_position_embeddings,
        sliding_window: c.max_position_embeddings,
        max_window_layers: 0,
        tie_word_embeddings: c.tie_word_embeddings,
        rope_theta: c.rope_theta,
        rms_norm_eps: c.rms_norm_eps,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let weights = VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu);
    qwen2::ModelForCausalLM::new(&config, weights).unwrap()
}

#[test]
fn candle_transformers_serves_a_qwen2_soup() {
    let fixture = Fixture::of(Base::qwen2(), policies());
    let tokens = prompt(12, 1);
    for (wish, method) in [("", Method::Exact), ("concise=0.5,expert=0.5", Method::Exact), ("concise=1", Method::Ties)]
    {
        let soup = fixture.soup(wish, method);
        let backend = SoupBackend::new(fixture.checkpoint.clone(), fixture.pool.clone(), soup.clone());
        let mut model = qwen2(&fixture, backend);
        let engine = fixture.engine().logits(&soup, PathChoice::Materialised, &tokens).unwrap();
        let mut candle = Vec::new();
        for (position, token) in tokens.iter().enumerate() {
            let input = Tensor::new(&[[*token]], &Device::Cpu).unwrap();
            let logits = model.forward(&input, position).unwrap();
            let row: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            candle.push(row.into_iter().map(f64::from).collect::<Vec<_>>());
        }
        let error = oracle::error(&engine, &candle);
        assert!(error < 1e-4, "{wish} {method}: {error}");
    }
}

#[test]
fn a_wrong_shape_or_name_is_an_error() {
    let fixture = Fixture::new();
    let soup = fixture.soup("concise=1", Method::Exact);
    let backend = SoupBackend::new(fixture.checkpoint.clone(), fixture.pool.clone(), soup);
    let weights = VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu);
    let name = "model.layers.0.self_attn.q_proj.weight";
    let error = weights.get((3, 3), name).unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    assert!(weights.get((64, 64), "no.such.tensor").is_err());
    assert!(weights.contains_tensor(name) && !weights.contains_tensor("no.such.tensor"));
    assert_eq!(weights.get((64, 64), name).unwrap().dtype(), DType::F32);
}
