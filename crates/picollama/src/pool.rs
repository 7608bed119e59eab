//! A pool of random policies.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::base::{Base, Written};
use crate::digest;
use crate::hugging_face::write_json;
use crate::random::Random;
use crate::tensors::{self, Tensors};

/// Number format of a policy's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 16-bit brain floating point.
    Bf16,
}

/// A random policy.
#[derive(Debug, Clone)]
pub struct PolicySpec {
    /// Name of the policy and of its folder.
    pub id: String,
    /// Code such as `P2A`.
    pub code: String,
    /// Dimension of which it is a pole.
    pub dimension: String,
    /// Rank of a LoRA.
    pub rank: usize,
    /// LoRA's alpha: the scale is alpha / rank.
    pub alpha: f64,
    /// Modules such as `q_proj`, changed in every layer; a full policy changes the same ones.
    pub targets: Vec<&'static str>,
    /// Seed of B, and of a full policy.
    pub seed: u64,
    /// Seed of A: policies with the same one share their A.
    pub a_seed: u64,
    /// Standard deviation of what the unscaled delta adds to an output whose input has unit variance.
    pub amplitude: f32,
    /// Whether the policy holds every weight of the base rather than factors.
    pub full: bool,
    /// Whether the scale is alpha / sqrt(rank).
    pub rslora: bool,
    /// Number format of the tensors.
    pub dtype: Precision,
}

impl PolicySpec {
    /// A LoRA of rank 4 and alpha 8 on q and v; code and dimension of the well-known names, seed by the name.
    pub fn lora(id: &str) -> Self {
        let (code, dimension) = match id {
            "elementary" => ("P1A", "expertise"),
            "expert" => ("P1B", "expertise"),
            "concise" => ("P2A", "informativeness"),
            "informative" => ("P2B", "informativeness"),
            "friendly" => ("P3A", "style"),
            "unfriendly" => ("P3B", "style"),
            _ => ("P9A", "other"),
        };
        Self {
            id: id.to_owned(),
            code: code.to_owned(),
            dimension: dimension.to_owned(),
            rank: 4,
            alpha: 8.0,
            targets: vec!["q_proj", "v_proj"],
            seed: id.bytes().fold(7, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte)),
            a_seed: 1,
            amplitude: 0.3,
            full: false,
            rslora: false,
            dtype: Precision::F32,
        }
    }

    /// A full-weight policy; otherwise as [`lora`](Self::lora).
    pub fn full(id: &str) -> Self {
        Self { full: true, ..Self::lora(id) }
    }

    /// Shapes (out, in) of the changed modules by tensor name.
    fn targets(&self, base: &Base) -> BTreeMap<String, Vec<usize>> {
        let is_target = |name: &str| self.targets.iter().any(|target| name.ends_with(&format!(".{target}.weight")));
        base.shapes().into_iter().filter(|(name, _)| is_target(name)).collect()
    }

    fn write_lora(&self, dir: &Path, base: &Base, base_name: &str) -> Vec<String> {
        let mut tensors = Tensors::new();
        for (name, shape) in self.targets(base) {
            let module = name.strip_suffix(".weight").expect("targets are weights");
            let (out, input) = (shape[0], shape[1]);
            let a =
                Random::new(self.a_seed, &format!("{module}.A")).normal(self.rank * input, 1.0 / (input as f32).sqrt());
            let deviation = self.amplitude / (self.rank as f32).sqrt();
            let b = Random::new(self.seed, &format!("{module}.B")).normal(out * self.rank, deviation);
            tensors.insert(format!("base_model.model.{module}.lora_A.weight"), (vec![self.rank, input], a));
            tensors.insert(format!("base_model.model.{module}.lora_B.weight"), (vec![out, self.rank], b));
        }
        tensors::write(&dir.join("adapter_model.safetensors"), &tensors, self.dtype);
        let config = json!({
            "alpha_pattern": {},
            "base_model_name_or_path": base_name,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_to_transform": null,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": {},
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rslora,
        });
        write_json(&dir.join("adapter_config.json"), &config);
        vec!["adapter_config.json".to_owned(), "adapter_model.safetensors".to_owned()]
    }

    fn write_full(&self, dir: &Path, base: &Base) -> Vec<String> {
        let mut tensors = base.tensors();
        for (name, shape) in self.targets(base) {
            let (_, values) = tensors.get_mut(&name).expect("targets are tensors of the base");
            let noise = Random::new(self.seed, &name).normal(values.len(), self.amplitude / (shape[1] as f32).sqrt());
            values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
        }
        let mut files: Vec<String> =
            tensors::write_shards(dir, &tensors, base.shards, self.dtype).into_values().collect();
        files.sort();
        files.dedup();
        files
    }
}

/// Writes `pool.toml` and one folder per policy to `dir`, which is made.
pub fn write_pool(dir: &Path, base: &Base, written: &Written, policies: &[PolicySpec]) {
    let mut manifest = String::from("format = 1\n");
    let mut line = |text: String| writeln!(manifest, "{text}").expect("a string takes everything");
    line(format!("[base]\nname = {:?}\nsha256 = {:?}", written.name, written.sha256));
    line(format!("vocabulary_sha256 = {:?}", written.vocabulary_sha256));
    let mut dimensions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for policy in policies {
        dimensions.entry(&policy.dimension).or_default().push(&policy.id);
    }
    for (dimension, poles) in dimensions {
        line(format!("[[dimension]]\nid = {dimension:?}\npoles = {poles:?}"));
    }
    for policy in policies {
        let folder = dir.join(&policy.id);
        fs::create_dir_all(&folder).expect("a writable folder");
        let (kind, files) = match policy.full {
            true => ("full", policy.write_full(&folder, base)),
            false => ("lora", policy.write_lora(&folder, base, &written.name)),
        };
        let PolicySpec { id, code, dimension, .. } = policy;
        line(format!("[[policy]]\nid = {id:?}\ncode = {code:?}\ndimension = {dimension:?}"));
        line(format!("instruction = \"Write as the policy {id} does.\"\nkind = {kind:?}\ndir = {id:?}"));
        line("license = \"Apache-2.0\"\n[policy.files]".to_owned());
        for file in files {
            line(format!("{file:?} = {:?}", digest::file(&folder.join(&file))));
        }
    }
    fs::create_dir_all(dir).expect("a writable folder");
    fs::write(dir.join("pool.toml"), manifest).expect("a writable folder");
}
