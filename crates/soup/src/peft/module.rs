//! From factors to modules.

use std::collections::BTreeMap;
use std::fmt;

use super::config::Config;
use super::tensors::{Factor, Pair};
use crate::manifest::ADAPTER_MODEL;
use crate::problem::Problems;
use crate::{LoraModule, limits};

/// Puts A and B together; adds a problem for each module where they do not fit each other or the configuration.
pub(super) fn assemble(
    config: &Config,
    pairs: BTreeMap<String, Pair>,
    place: &impl fmt::Display,
    problems: &mut Problems,
) -> BTreeMap<String, LoraModule> {
    let place = &format!("{place} {ADAPTER_MODEL}");
    let mut modules = BTreeMap::new();
    for (name, pair) in pairs {
        match module(config, &name, pair) {
            Ok(module) => {
                modules.insert(name, module);
            }
            Err(e) => problems.add(place, format_args!("{name} {e}")),
        }
    }
    modules
}

fn module(config: &Config, name: &str, pair: Pair) -> Result<LoraModule, String> {
    let (a, b) = match pair {
        Pair { a: Some(a), b: Some(b) } => (a, b),
        Pair { a: None, .. } => return Err("has lora_B but no lora_A".into()),
        Pair { b: None, .. } => return Err("has lora_A but no lora_B".into()),
    };
    let [rank, in_features] = matrix(&a, "lora_A")?;
    let [out_features, rank_of_b] = matrix(&b, "lora_B")?;
    if rank != rank_of_b {
        let (a, b) = (&a.shape, &b.shape);
        return Err(format!("has lora_A {a:?} and lora_B {b:?}: they do not have one rank"));
    }
    if rank > limits::RANK {
        return Err(format!("has rank {rank}, {} is allowed", limits::RANK));
    }
    if config.rank(name) != rank as f64 {
        return Err(format!("has rank {rank}, the configuration says {}", config.rank(name)));
    }
    let scale = config.scale(name, rank);
    if !scale.is_finite() {
        return Err(format!("has scale {scale}"));
    }
    Ok(LoraModule { rank, in_features, out_features, scale, a: a.values, b: b.values })
}

fn matrix(factor: &Factor, name: &str) -> Result<[usize; 2], String> {
    match factor.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(format!("has {name} of shape {:?}, not of a matrix", factor.shape)),
    }
}
