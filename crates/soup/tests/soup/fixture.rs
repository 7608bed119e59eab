//! Pools on disk, made without a line of the crate under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tureen_soup::{BaseFacts, MergeOptions, Method, Pool, PoolError, PoolOptions, Preference, Soup};

pub(crate) const Q0: &str = "model.layers.0.self_attn.q_proj";
pub(crate) const V0: &str = "model.layers.0.self_attn.v_proj";
pub(crate) const Q1: &str = "model.layers.1.self_attn.q_proj";

/// (out, in) of every linear layer of the pretended base.
pub(crate) const SHAPES: [(&str, [usize; 2]); 3] = [(Q0, [6, 5]), (V0, [3, 5]), (Q1, [6, 5])];

/// Reproducible numbers in [-1, 1): the state and a well-known generator (Numerical Recipes).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u32 << 23) as f32) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[derive(Clone)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) out: usize,
    pub(crate) input: usize,
    pub(crate) rank: usize,
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
}

impl Module {
    pub(crate) fn new(name: &str, rank: usize, seed: u64) -> Self {
        let [out, input] = SHAPES.iter().find(|(known, _)| *known == name).unwrap().1;
        Self {
            name: name.into(),
            out,
            input,
            rank,
            a: numbers(seed * 2, rank * input),
            b: numbers(seed * 2 + 1, out * rank),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Lora {
    pub(crate) id: String,
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) modules: Vec<Module>,
    /// Laid over the configuration.
    pub(crate) config: Value,
    pub(crate) dtype: Dtype,
}

impl Lora {
    /// Rank 2, alpha 4, on q_proj of both layers and v_proj of the first.
    pub(crate) fn new(id: &str, seed: u64) -> Self {
        Self::on(id, seed, 2, &[Q0, V0, Q1])
    }

    pub(crate) fn on(id: &str, seed: u64, rank: usize, modules: &[&str]) -> Self {
        let modules = modules.iter().enumerate().map(|(i, m)| Module::new(m, rank, seed * 100 + i as u64)).collect();
        Self { id: id.into(), rank, alpha: 2.0 * rank as f64, modules, config: json!({}), dtype: Dtype::F32 }
    }

    pub(crate) fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        let mut targets: Vec<&str> = self.modules.iter().map(|m| m.name.rsplit('.').next().unwrap()).collect();
        targets.sort_unstable();
        targets.dedup();
        let mut config = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": self.rank, "lora_alpha": self.alpha,
            "target_modules": targets, "bias": "none", "use_dora": false, "use_rslora": false,
            "fan_in_fan_out": false, "modules_to_save": null, "rank_pattern": {}, "alpha_pattern": {},
            "lora_dropout": 0.05, "inference_mode": true, "init_lora_weights": true, "megatron_core": "megatron.core",
            "base_model_name_or_path": "pretended", "layers_to_transform": null, "qalora_group_size": 16,
        });
        for (key, value) in self.config.as_object().unwrap() {
            match value.as_str() {
                Some("<remove>") => drop(config.as_object_mut().unwrap().remove(key)),
                _ => config[key] = value.clone(),
            }
        }
        serde_json::to_vec_pretty(&config).unwrap()
    }

    pub(crate) fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        for m in &self.modules {
            let name = |factor| format!("base_model.model.{}.{factor}.weight", m.name);
            tensors.insert(name("lora_A"), (vec![m.rank, m.input], m.a.clone()));
            tensors.insert(name("lora_B"), (vec![m.out, m.rank], m.b.clone()));
        }
        tensors
    }

    pub(crate) fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|m| m.name == name)
    }
}

pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn safetensors(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let encode = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::F64 => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    };
    let encoded: Vec<_> = tensors.iter().map(|(name, (shape, values))| (name, shape.clone(), encode(values))).collect();
    let views = encoded.iter().map(|(n, shape, bytes)| (*n, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// The pretended base: one matrix per linear layer, a norm and an embedding.
pub(crate) fn base_tensors() -> Tensors {
    let mut tensors = Tensors::new();
    for (i, (name, [out, input])) in SHAPES.iter().enumerate() {
        tensors.insert(format!("{name}.weight"), (vec![*out, *input], numbers(7000 + i as u64, out * input)));
    }
    tensors.insert("model.norm.weight".into(), (vec![5], numbers(7100, 5)));
    tensors.insert("model.embed_tokens.weight".into(), (vec![8, 5], numbers(7200, 40)));
    tensors
}

pub(crate) fn base_facts() -> BaseFacts {
    BaseFacts {
        name: "pretended".into(),
        sha256: "ab".repeat(32),
        vocabulary_sha256: "cd".repeat(32),
        shapes: base_tensors().into_iter().map(|(name, (shape, _))| (name, shape)).collect(),
    }
}

/// A policy of the manifest and its files.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl From<&Lora> for Folder {
    fn from(lora: &Lora) -> Self {
        let model = safetensors(&lora.tensors(), lora.dtype);
        let files = [("adapter_config.json", lora.config_bytes()), ("adapter_model.safetensors", model)];
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        Self { id: lora.id.clone(), kind: "lora", files }
    }
}

impl Folder {
    pub(crate) fn full(id: &str, tensors: &Tensors) -> Self {
        let bytes = safetensors(tensors, Dtype::F32);
        Self { id: id.into(), kind: "full", files: BTreeMap::from([("model.safetensors".into(), bytes)]) }
    }
}

pub(crate) struct PoolDir(TempDir);

impl PoolDir {
    pub(crate) fn new(folders: &[Folder]) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        for folder in folders {
            let path = dir.path().join(&folder.id);
            fs::create_dir_all(&path).unwrap();
            for (name, bytes) in &folder.files {
                fs::write(path.join(name), bytes).unwrap();
                age(&path.join(name));
            }
        }
        dir.write_manifest(&manifest(folders));
        dir
    }

    pub(crate) fn of(loras: &[Lora]) -> Self {
        Self::new(&loras.iter().map(Folder::from).collect::<Vec<_>>())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn manifest(&self) -> String {
        fs::read_to_string(self.file("pool.toml")).unwrap()
    }

    pub(crate) fn write_manifest(&self, text: &str) {
        fs::write(self.file("pool.toml"), text).unwrap();
    }

    pub(crate) fn try_open(&self) -> Result<Pool, PoolError> {
        Pool::open(self.path(), &PoolOptions::default())
    }

    /// Open, and checked against the pretended base.
    pub(crate) fn open(&self) -> Pool {
        let pool = self.try_open().unwrap_or_else(|e| panic!("{e}"));
        pool.check_base(&base_facts()).unwrap_or_else(|e| panic!("{e}"));
        pool
    }

    /// Every problem, from opening or else from the comparison with the base.
    pub(crate) fn problems(&self) -> Vec<String> {
        let result = self.try_open().and_then(|pool| pool.check_base(&base_facts()));
        match result {
            Ok(()) => Vec::new(),
            Err(PoolError::Invalid(problems)) => {
                assert!(!problems.is_empty());
                problems.iter().map(ToString::to_string).collect()
            }
            Err(other) => vec![other.to_string()],
        }
    }
}

/// Sets a file's time back, so that whatever is written later has another one.
pub(crate) fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
}

pub(crate) fn manifest(folders: &[Folder]) -> String {
    let (ab, cd) = ("ab".repeat(32), "cd".repeat(32));
    let mut text =
        format!("format = 1\n\n[base]\nname = \"pretended\"\nsha256 = \"{ab}\"\nvocabulary_sha256 = \"{cd}\"\n");
    for Folder { id, .. } in folders {
        text += &format!("\n[[dimension]]\nid = \"of-{id}\"\npoles = [\"{id}\"]\n");
    }
    for Folder { id, kind, files } in folders {
        text += &format!(
            "\n[[policy]]\nid = \"{id}\"\ncode = \"P\"\ndimension = \"of-{id}\"\ninstruction = \"Be {id}.\"\n\
             kind = \"{kind}\"\ndir = \"{id}\"\nlicense = \"Apache-2.0\"\n[policy.files]\n"
        );
        for (name, bytes) in files {
            text += &format!("\"{name}\" = \"{}\"\n", sha256(bytes));
        }
    }
    text
}

pub(crate) fn options(method: Method) -> MergeOptions {
    MergeOptions { method, ..MergeOptions::default() }
}

pub(crate) fn preference(pairs: &[(&str, f64)]) -> Preference {
    let map: Map<String, Value> = pairs.iter().map(|(name, weight)| ((*name).to_owned(), json!(weight))).collect();
    serde_json::from_value(Value::Object(map)).unwrap()
}

pub(crate) fn soup(pool: &Pool, pairs: &[(&str, f64)], method: Method) -> Soup {
    pool.soup(&preference(pairs), &options(method)).unwrap()
}

/// The merged tensor of module `name`, on the pretended base.
pub(crate) fn merged(pool: &Pool, soup: &Soup, name: &str) -> Vec<f32> {
    let tensor = if name == "model.norm" { "model.norm.weight".to_owned() } else { format!("{name}.weight") };
    let (shape, base) = base_tensors().remove(&tensor).unwrap();
    tureen_soup::merge::tensor(pool, soup, &tensor, &shape, &base).unwrap().unwrap_or(base)
}

pub(crate) fn base_of(name: &str) -> Vec<f32> {
    base_tensors().remove(&format!("{name}.weight")).unwrap().1
}

/// Equality of bits, so that -0 is not 0.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
