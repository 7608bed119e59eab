//! A tiny random LLaMA and its forward in candle's own operations, which have their own backward.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::{log_softmax, sigmoid, softmax};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tureen_engine::DeviceChoice;
use tureen_trainer::Place;
use tureen_trainer::model::{Base, Geometry, LoraAdapter};

/// Two layers, four heads over two key heads, tied head.
pub(crate) fn geometry() -> Geometry {
    Geometry {
        hidden: 16,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 4,
        inner: 24,
        positions: 32,
        rope_theta: 100.0,
        eps: 1e-5,
        tied: true,
    }
}

/// The vocabulary of the tiny model.
pub(crate) const VOCABULARY: usize = 29;

/// Values uniform in ±`amplitude`.
pub(crate) fn random(seed: u64, shape: &[usize], amplitude: f32) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-amplitude..amplitude)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Random weights under their Hugging Face names.
pub(crate) fn weights() -> BTreeMap<String, Tensor> {
    let (hidden, inner, kv) = (16, 24, 8);
    let mut weights = BTreeMap::new();
    for layer in 0..2u64 {
        let shapes: [(&str, Vec<usize>); 9] = [
            ("input_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ];
        for (index, (name, shape)) in shapes.into_iter().enumerate() {
            weights
                .insert(format!("model.layers.{layer}.{name}.weight"), random(100 * layer + index as u64, &shape, 0.6));
        }
    }
    weights.insert("model.embed_tokens.weight".into(), random(900, &[VOCABULARY, hidden], 1.0));
    weights.insert("model.norm.weight".into(), random(901, &[hidden], 1.0));
    weights
}

/// The CPU with the kernels, and what runs on a GPU.
pub(crate) fn places() -> [Place; 2] {
    [DeviceChoice::Cpu, DeviceChoice::Twin].map(|choice| Place::open(choice).unwrap())
}

/// The base over [`weights`].
pub(crate) fn base(place: &Place) -> Base {
    let weights = weights();
    Base::load(place, geometry(), |name| Ok(weights[name].clone())).unwrap()
}

/// An adapter whose B is not zero.
pub(crate) fn adapter(base: &Base) -> LoraAdapter {
    let adapter = LoraAdapter::init(base, 3, 6.0, 5).unwrap();
    for (index, (name, var)) in adapter.variables().into_iter().enumerate() {
        if name.ends_with("lora_B") {
            var.set(&random(700 + index as u64, var.dims(), 0.3)).unwrap();
        }
    }
    adapter
}

fn norm(x: &Tensor, weight: &Tensor) -> Tensor {
    let scale = (x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap() + 1e-5).unwrap().sqrt().unwrap();
    x.broadcast_div(&scale).unwrap().broadcast_mul(weight).unwrap()
}

/// RoPE of `x` (heads x tokens x 4) by the textbook formula.
fn rope(x: &Tensor) -> Tensor {
    let tokens = x.dim(1).unwrap();
    let angle = |p: usize, i: usize| p as f32 / 100f32.powf(2.0 * i as f32 / 4.0);
    let table = |of: fn(f32) -> f32| {
        let values: Vec<f32> = (0..tokens).flat_map(|p| (0..2).map(move |i| of(angle(p, i)))).collect();
        Tensor::from_vec(values, (1, tokens, 2), &Device::Cpu).unwrap()
    };
    let (cos, sin) = (table(f32::cos), table(f32::sin));
    let (a, b) = (x.narrow(2, 0, 2).unwrap(), x.narrow(2, 2, 2).unwrap());
    let first = (a.broadcast_mul(&cos).unwrap() - b.broadcast_mul(&sin).unwrap()).unwrap();
    let second = (b.broadcast_mul(&cos).unwrap() + a.broadcast_mul(&sin).unwrap()).unwrap();
    Tensor::cat(&[first, second], 2).unwrap()
}

fn heads(x: &Tensor, count: usize) -> Tensor {
    let tokens = x.dim(0).unwrap();
    x.reshape((tokens, count, 4)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
}

/// Log-probability of each token after the first, of one sequence, in candle's own operations: `[tokens - 1]`.
/// `adapter` adds `(x A^T) B^T scale` to q_proj and v_proj.
pub(crate) fn reference(tokens: &[u32], adapter: Option<&LoraAdapter>) -> (Tensor, Tensor) {
    let weights = weights();
    let update = |x: &Tensor, module: &str| {
        let adapter = adapter.filter(|_| module.ends_with("q_proj") || module.ends_with("v_proj"));
        adapter.map(|adapter| {
            let of = |suffix: &str| {
                let wanted = format!("{module}.{suffix}");
                adapter.variables().into_iter().find(|(name, _)| *name == wanted).unwrap().1.as_tensor().clone()
            };
            let down = x.matmul(&of("lora_A").t().unwrap()).unwrap();
            (down.matmul(&of("lora_B").t().unwrap()).unwrap() * adapter.scale()).unwrap()
        })
    };
    let ids = Tensor::new(tokens, &Device::Cpu).unwrap();
    let embedding = &weights["model.embed_tokens.weight"];
    let mut x = embedding.index_select(&ids, 0).unwrap();
    let mask: Vec<f32> = (0..tokens.len())
        .flat_map(|row| (0..tokens.len()).map(move |column| if column > row { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    let mask = Tensor::from_vec(mask, (1, tokens.len(), tokens.len()), &Device::Cpu).unwrap();
    for layer in 0..2 {
        let weight = |name: &str| &weights[&format!("model.layers.{layer}.{name}.weight")];
        let linear = |x: &Tensor, name: &str| {
            let y = x.matmul(&weight(name).t().unwrap()).unwrap();
            match update(x, &format!("model.layers.{layer}.{name}")) {
                Some(update) => (y + update).unwrap(),
                None => y,
            }
        };
        let h = norm(&x, weight("input_layernorm"));
        let q = rope(&heads(&linear(&h, "self_attn.q_proj"), 4));
        let spread = |x: &Tensor| {
            let index = Tensor::new(&[0u32, 0, 1, 1], &Device::Cpu).unwrap();
            x.index_select(&index, 0).unwrap()
        };
        let k = spread(&rope(&heads(&linear(&h, "self_attn.k_proj"), 2)));
        let v = spread(&heads(&linear(&h, "self_attn.v_proj"), 2));
        let scores = (q.matmul(&k.transpose(1, 2).unwrap().contiguous().unwrap()).unwrap() * 0.5).unwrap();
        let probabilities = softmax(&scores.broadcast_add(&mask).unwrap(), D::Minus1).unwrap();
        let attended = probabilities.matmul(&v).unwrap().transpose(0, 1).unwrap().contiguous().unwrap();
        let attended = attended.reshape((tokens.len(), 16)).unwrap();
        x = (x + linear(&attended, "self_attn.o_proj")).unwrap();
        let h = norm(&x, weight("post_attention_layernorm"));
        let gate = linear(&h, "mlp.gate_proj");
        let gate = (&gate * sigmoid(&gate).unwrap()).unwrap();
        let h = (gate * linear(&h, "mlp.up_proj")).unwrap();
        x = (x + linear(&h, "mlp.down_proj")).unwrap();
    }
    let hidden = norm(&x, &weights["model.norm.weight"]);
    let logits = hidden.matmul(&embedding.t().unwrap()).unwrap();
    let all = log_softmax(&logits, D::Minus1).unwrap().narrow(0, 0, tokens.len() - 1).unwrap();
    let targets = Tensor::new(&tokens[1..], &Device::Cpu).unwrap().unsqueeze(1).unwrap();
    (all.contiguous().unwrap().gather(&targets, 1).unwrap().squeeze(1).unwrap(), hidden)
}

/// The elements of a tensor.
pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails unless all elements agree within `tolerance`, relative to the largest.
#[track_caller]
pub(crate) fn close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
    for (index, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "element {index}: {a} against {b} (largest {largest})");
    }
}
