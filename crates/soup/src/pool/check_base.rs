//! Whether a pool fits a base.

use super::Pool;
use crate::problem::Problems;
use crate::{BaseFacts, FullPolicy, LoraPolicy, PolicyWeights, PoolError};

impl Pool {
    /// Checks that the policies change exactly this base: its weights, its vocabulary, its tensors and their shapes.
    ///
    /// # Errors
    /// [`PoolError::Invalid`] with every difference. The name alone may differ: contents decide.
    pub fn check_base(&self, base: &BaseFacts) -> Result<(), PoolError> {
        let mut problems = Problems::default();
        let place = format!("base {}", base.name);
        if base.sha256 != self.base.sha256 {
            let (theirs, ours) = (&base.sha256, &self.base);
            let what = format!("its sha256 is {theirs}, the pool is for {} with {}", ours.name, ours.sha256);
            problems.add(&place, what);
        }
        if base.vocabulary_sha256 != self.base.vocabulary_sha256 {
            let (theirs, ours) = (&base.vocabulary_sha256, &self.base.vocabulary_sha256);
            problems.add(&place, format_args!("its vocabulary's sha256 is {theirs}, the pool is for {ours}"));
        }
        for policy in &self.policies {
            let place = format!("policy {}", policy.id());
            match policy.weights() {
                PolicyWeights::Lora(lora) => check_lora(lora, base, &place, &mut problems),
                PolicyWeights::Full(full) => check_full(full, base, &place, &mut problems),
            }
        }
        problems.into_result()
    }
}

fn check_lora(lora: &LoraPolicy, base: &BaseFacts, place: &str, problems: &mut Problems) {
    for (name, module) in lora.modules() {
        let wanted = [module.out_features, module.in_features];
        match base.shapes.get(&format!("{name}.weight")) {
            _ if name.ends_with("embed_tokens") => {
                problems.add(place, format_args!("LoRA on embeddings is not supported: {name}"));
            }
            None => problems.add(place, format_args!("the base has no linear layer {name}")),
            Some(shape) if *shape != wanted => {
                problems.add(place, format_args!("{name} is for a weight of {wanted:?}, the base has {shape:?}"));
            }
            Some(_) => {}
        }
    }
}

fn check_full(full: &FullPolicy, base: &BaseFacts, place: &str, problems: &mut Problems) {
    for name in full.names() {
        let shape = full.shape(name).unwrap_or_default();
        match base.shapes.get(name) {
            None => problems.add(place, format_args!("the base has no tensor {name}")),
            Some(expected) if expected != shape => {
                problems.add(place, format_args!("{name} has shape {shape:?}, the base has {expected:?}"));
            }
            Some(_) => {}
        }
    }
    for name in base.shapes.keys().filter(|name| full.shape(name).is_none()) {
        problems.add(place, format_args!("lacks the tensor {name}"));
    }
}
