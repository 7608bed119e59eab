//! The trainable low-rank updates of q_proj and v_proj.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tureen_soup::adapter::Adapter;

use super::delta::{Delta, LayerDelta};
use super::{Base, Checkpointing, Geometry};
use crate::ops::to_vec;

/// The modules that are trained, in the order of their variables.
fn module_names(geometry: &Geometry) -> impl Iterator<Item = String> + use<> {
    (0..geometry.layers)
        .flat_map(|layer| ["q_proj", "v_proj"].map(|name| format!("model.layers.{layer}.self_attn.{name}")))
}

struct Module {
    name: String,
    a: Var,
    b: Var,
}

/// One policy's LoRA factors, as variables.
pub struct LoraAdapter {
    modules: Vec<Module>,
    rank: usize,
    alpha: f64,
    a_seed: u64,
    a_sha256: String,
}

impl LoraAdapter {
    /// A fresh adapter of `base`, at its place: A uniform in ±1/sqrt(in) (what PEFT's kaiming uniform comes to), drawn by
    /// ChaCha8 from `a_seed` with one stream per module, B zero. Policies that are to be mixed share `a_seed`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn init(base: &Base, rank: usize, alpha: f64, a_seed: u64) -> Result<Self> {
        let (geometry, device) = (base.geometry(), base.place().device());
        let mut modules = Vec::with_capacity(2 * geometry.layers);
        let mut hasher = Sha256::new();
        for (index, name) in module_names(geometry).enumerate() {
            let heads = if name.ends_with("q_proj") { geometry.heads } else { geometry.kv_heads };
            let mut rng = ChaCha8Rng::seed_from_u64(a_seed);
            rng.set_stream(index as u64);
            let bound = 1.0 / (geometry.hidden as f32).sqrt();
            let a: Vec<f32> = (0..rank * geometry.hidden).map(|_| rng.random_range(-bound..bound)).collect();
            a.iter().for_each(|value| hasher.update(value.to_le_bytes()));
            let a = Var::from_vec(a, (rank, geometry.hidden), device)?;
            let b = Var::zeros((heads * geometry.head_dim, rank), DType::F32, device)?;
            modules.push(Module { name, a, b });
        }
        let a_sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { modules, rank, alpha, a_seed, a_sha256 })
    }

    /// `alpha / rank`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// The rank of every module.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The scaling numerator.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Seed and sha256 (of the little-endian f32 values, module after module) of the initial A factors.
    pub fn initialisation(&self) -> (u64, &str) {
        (self.a_seed, &self.a_sha256)
    }

    /// The update for a forward whose gradients are wanted.
    pub fn tracked(&self, checkpointing: Checkpointing) -> Delta {
        self.delta(|var| var.as_tensor().clone(), checkpointing)
    }

    /// The update for a forward without gradients.
    pub fn detached(&self) -> Delta {
        self.delta(Var::as_detached_tensor, Checkpointing::Off)
    }

    fn delta(&self, of: impl Fn(&Var) -> Tensor, checkpointing: Checkpointing) -> Delta {
        // q_proj and v_proj of one layer stand next to each other.
        let layers = self.modules.as_chunks().0.iter().map(|[q, v]| LayerDelta {
            q: [&q.a, &q.b].map(&of),
            v: [&v.a, &v.b].map(&of),
            scale: self.scale(),
        });
        Delta { layers: layers.collect(), checkpointing }
    }

    /// Multiplies every B, and with it the whole update, by `factor`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn pull(&self, factor: f64) -> Result<()> {
        self.modules.iter().try_for_each(|module| module.b.set(&(module.b.as_detached_tensor() * factor)?))
    }

    /// All variables with their names, `....lora_A` and `....lora_B`.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let both = self.modules.iter().flat_map(|module| {
            [
                (format!("{}.lora_A", module.name), module.a.clone()),
                (format!("{}.lora_B", module.name), module.b.clone()),
            ]
        });
        both.collect()
    }

    /// The adapter as it is written to a PEFT folder.
    ///
    /// # Errors
    /// Never for variables made by this type.
    pub fn export(&self, metadata: BTreeMap<String, String>) -> Result<Adapter> {
        let mut modules = BTreeMap::new();
        for module in &self.modules {
            let sizes = (module.a.dim(1)?, module.b.dim(0)?);
            modules.insert(module.name.clone(), (to_vec(&module.a)?, to_vec(&module.b)?, sizes.0, sizes.1));
        }
        Ok(Adapter { rank: self.rank, alpha: self.alpha, modules, metadata })
    }
}
