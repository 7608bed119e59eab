//! An independent model: dense f64, one position after the other, soups added to the weights as the equations say.

use std::collections::BTreeMap;
use std::path::Path;

use picollama::{Base, PolicySpec};
use safetensors::SafeTensors;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// Factors of one LoRA module, and the scale that its configuration means.
struct Factors {
    rank: usize,
    scale: f64,
    a: Vec<f64>,
    b: Vec<f64>,
}

/// The base's tensors in f64.
pub(crate) fn tensors(base: &Base) -> Tensors {
    let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect();
    base.tensors().into_iter().map(|(name, (shape, values))| (name, (shape, wide(values)))).collect()
}

/// W + strength Σ w_i s_i B_i A_i
pub(crate) fn exact(base: &Base, pool: &Path, specs: &[PolicySpec], weights: &[f64], strength: f64) -> Tensors {
    let mut tensors = tensors(base);
    for (spec, weight) in specs.iter().zip(weights) {
        for (module, f) in factors(pool, spec) {
            let (shape, values) = tensors.get_mut(&format!("{module}.weight")).unwrap();
            add_product(values, shape[1], &f.b, &f.a, f.rank, strength * weight * f.scale);
        }
    }
    tensors
}

/// W + strength (Σ w_i s_i B_i)(Σ w_j A_j), missing ranks zero.
pub(crate) fn factor(base: &Base, pool: &Path, specs: &[PolicySpec], weights: &[f64], strength: f64) -> Tensors {
    let mut sums: BTreeMap<String, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let rank = specs.iter().map(|s| s.rank).max().unwrap();
    let mut tensors = tensors(base);
    for (spec, weight) in specs.iter().zip(weights) {
        for (module, f) in factors(pool, spec) {
            let shape = &tensors[&format!("{module}.weight")].0;
            let (out, input) = (shape[0], shape[1]);
            let (b, a) = sums.entry(module).or_insert_with(|| (vec![0.0; out * rank], vec![0.0; rank * input]));
            f.a.iter().zip(a.iter_mut()).for_each(|(x, sum)| *sum += weight * x);
            for row in 0..out {
                for r in 0..f.rank {
                    b[row * rank + r] += weight * f.scale * f.b[row * f.rank + r];
                }
            }
        }
    }
    for (module, (b, a)) in sums {
        let (shape, values) = tensors.get_mut(&format!("{module}.weight")).unwrap();
        add_product(values, shape[1], &b, &a, rank, strength);
    }
    tensors
}

fn add_product(values: &mut [f64], input: usize, b: &[f64], a: &[f64], rank: usize, scale: f64) {
    for (i, value) in values.iter_mut().enumerate() {
        let (row, column) = (i / input, i % input);
        *value += scale * (0..rank).map(|r| b[row * rank + r] * a[r * input + column]).sum::<f64>();
    }
}

fn factors(pool: &Path, spec: &PolicySpec) -> BTreeMap<String, Factors> {
    let bytes = std::fs::read(pool.join(&spec.id).join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let rank = spec.rank as f64;
    let scale = spec.alpha / if spec.rslora { rank.sqrt() } else { rank };
    let values = |name: &str| -> Vec<f64> {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "the oracle reads f32");
        tensor.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    };
    let mut modules = BTreeMap::new();
    for name in file.names() {
        let Some(prefix) = name.strip_suffix(".lora_A.weight") else { continue };
        let module = prefix.strip_prefix("base_model.model.").unwrap().to_owned();
        let (a, b) = (values(name), values(&format!("{prefix}.lora_B.weight")));
        modules.insert(module, Factors { rank: spec.rank, scale, a, b });
    }
    assert!(!modules.is_empty());
    modules
}

/// Logits after each token, (tokens, vocabulary).
pub(crate) fn logits(base: &Base, t: &Tensors, tokens: &[u32]) -> Vec<Vec<f64>> {
    let (d, heads, kv_heads) = (base.hidden / base.heads, base.heads, base.kv_heads);
    let mut keys = vec![Vec::<Vec<f64>>::new(); base.layers];
    let mut values = keys.clone();
    let get = |name: &str| &t[name].1;
    let mut all = Vec::new();
    for (position, token) in tokens.iter().enumerate() {
        let mut x = get("model.embed_tokens.weight")[*token as usize * base.hidden..][..base.hidden].to_vec();
        for layer in 0..base.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let linear = |module: &str, x: &[f64]| {
                let mut y = product(get(&name(&format!("{module}.weight"))), x);
                if let Some((_, bias)) = t.get(&name(&format!("{module}.bias"))) {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                y
            };
            let h = norm(&x, get(&name("input_layernorm.weight")));
            let q = rope(linear("self_attn.q_proj", &h), d, position);
            keys[layer].push(rope(linear("self_attn.k_proj", &h), d, position));
            values[layer].push(linear("self_attn.v_proj", &h));
            let mut mixed = Vec::new();
            for head in 0..heads {
                let at = head / (heads / kv_heads) * d;
                let score = |k: &Vec<f64>| -> f64 {
                    (0..d).map(|c| q[head * d + c] * k[at + c]).sum::<f64>() / (d as f64).sqrt()
                };
                let scores: Vec<f64> = keys[layer].iter().map(|k| score(k).exp()).collect();
                let total: f64 = scores.iter().sum();
                let mix = |c| scores.iter().zip(&values[layer]).map(|(s, v)| s / total * v[at + c]).sum::<f64>();
                mixed.extend((0..d).map(mix));
            }
            add(&mut x, &linear("self_attn.o_proj", &mixed));
            let h = norm(&x, get(&name("post_attention_layernorm.weight")));
            let gate = linear("mlp.gate_proj", &h);
            let up = linear("mlp.up_proj", &h);
            let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            add(&mut x, &linear("mlp.down_proj", &inner));
        }
        let head = t.get("lm_head.weight").unwrap_or_else(|| &t["model.embed_tokens.weight"]);
        all.push(product(&head.1, &norm(&x, get("model.norm.weight"))));
    }
    all
}

/// What picollama writes to `config.json`.
const EPS: f64 = 1e-5;
const THETA: f64 = 10_000.0;

fn product(w: &[f64], x: &[f64]) -> Vec<f64> {
    w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + EPS).sqrt() * w).collect()
}

fn rope(x: Vec<f64>, d: usize, position: usize) -> Vec<f64> {
    let mut out = x.clone();
    for (head, x) in x.chunks_exact(d).enumerate() {
        for i in 0..d / 2 {
            let angle = position as f64 * THETA.powf(-2.0 * i as f64 / d as f64);
            out[head * d + i] = x[i] * angle.cos() - x[i + d / 2] * angle.sin();
            out[head * d + i + d / 2] = x[i + d / 2] * angle.cos() + x[i] * angle.sin();
        }
    }
    out
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Largest difference, relative to the largest logit.
pub(crate) fn error(got: &[Vec<f32>], wanted: &[Vec<f64>]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let scale = wanted.iter().flatten().fold(0.0, |m: f64, v| m.max(v.abs()));
    let pairs = got.iter().flatten().zip(wanted.iter().flatten());
    pairs.map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max) / scale
}
