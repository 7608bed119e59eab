//! The tensors of `adapter_model.safetensors`, by module and factor.

use std::collections::BTreeMap;
use std::fmt;

use crate::decode;
use crate::manifest::ADAPTER_MODEL;
use crate::problem::Problems;

/// How PEFT wraps the model's own names.
const PREFIX: &str = "base_model.model.";

/// One factor as it was stored.
#[derive(Debug)]
pub(super) struct Factor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// The factors of one module, as far as they are there.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) a: Option<Factor>,
    pub(super) b: Option<Factor>,
}

/// Names that belong to features, and what to call them.
const FEATURES: [(&str, &str); 6] = [
    ("lora_embedding_", "LoRA on embeddings"),
    ("lora_magnitude_vector", "DoRA"),
    ("lora_A.bias", "a bias on the factors"),
    ("lora_B.bias", "a bias on the factors"),
    ("modules_to_save", "a fully trained module"),
    ("token_adapter", "trained token embeddings"),
];

/// Adds every problem; `None` when the file cannot be read at all.
pub(super) fn read(bytes: &[u8], place: &impl fmt::Display, problems: &mut Problems) -> Option<BTreeMap<String, Pair>> {
    let place = &format!("{place} {ADAPTER_MODEL}");
    let entries = decode::header(bytes).map_err(|e| problems.add(place, e)).ok()?;
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for (name, entry) in entries {
        let Some((module, is_a)) = split(&name) else {
            let feature = FEATURES.iter().find(|(part, _)| name.contains(part));
            match feature {
                Some((_, feature)) => problems.add(place, format_args!("{feature} is not supported: tensor {name:?}")),
                None => problems.add(place, format_args!("tensor {name:?} is no factor of a LoRA module")),
            }
            continue;
        };
        let pair = pairs.entry(module.to_owned()).or_default();
        match entry.decode_finite(bytes) {
            Ok(values) => {
                let factor = Some(Factor { shape: entry.shape, values });
                *(if is_a { &mut pair.a } else { &mut pair.b }) = factor;
            }
            Err(e) => {
                problems.add(place, format_args!("{name} {e}"));
                // Not told as missing too.
                let factor = Some(Factor { shape: entry.shape, values: Vec::new() });
                *(if is_a { &mut pair.a } else { &mut pair.b }) = factor;
            }
        }
    }
    if pairs.is_empty() {
        problems.add(place, "has no factors at all");
    }
    Some(pairs)
}

/// Module and whether it is A.
fn split(name: &str) -> Option<(&str, bool)> {
    let rest = name.strip_prefix(PREFIX)?;
    let (module, is_a) = match rest.strip_suffix(".lora_A.weight") {
        Some(module) => (module, true),
        None => (rest.strip_suffix(".lora_B.weight")?, false),
    };
    (!module.is_empty()).then_some((module, is_a))
}
