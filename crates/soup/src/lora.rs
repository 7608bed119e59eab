//! Policies of low rank.

use std::collections::BTreeMap;

/// A LoRA policy: for each changed module, `delta = scale · B A`.
#[derive(Debug, PartialEq)]
pub struct LoraPolicy {
    pub(crate) modules: BTreeMap<String, LoraModule>,
}

/// The factors of one linear layer. All values are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraModule {
    /// r, at least 1.
    pub rank: usize,
    /// Columns of A and of the layer's weight.
    pub in_features: usize,
    /// Rows of B and of the layer's weight.
    pub out_features: usize,
    /// The module's own alpha / r, or alpha / sqrt(r) for rsLoRA.
    pub scale: f64,
    /// A, r x in, row-major.
    pub a: Vec<f32>,
    /// B, out x r, row-major.
    pub b: Vec<f32>,
}

impl LoraPolicy {
    /// By module name, for example `model.layers.0.self_attn.q_proj`: the tensor's name without `.weight`.
    pub fn modules(&self) -> &BTreeMap<String, LoraModule> {
        &self.modules
    }

    /// Bytes of all factors.
    pub(crate) fn bytes(&self) -> u64 {
        self.modules.values().map(|m| (size_of_val(&m.a[..]) + size_of_val(&m.b[..])) as u64).sum()
    }

    /// The module behind tensor `name`.
    pub(crate) fn of_tensor(&self, name: &str) -> Option<&LoraModule> {
        self.modules.get(name.strip_suffix(".weight")?)
    }
}
