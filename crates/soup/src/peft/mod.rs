//! LoRA policies in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod features;
mod module;
mod pattern;
mod tensors;

use std::fmt;

use config::Config;

use crate::LoraPolicy;
use crate::problem::Problems;

/// Reads both files. Adds every problem; `None` when there is one.
pub(crate) fn load(
    config: &[u8],
    model: &[u8],
    place: &impl fmt::Display,
    problems: &mut Problems,
) -> Option<LoraPolicy> {
    let before = problems.len();
    let config = Config::parse(config, place, problems);
    let tensors = tensors::read(model, place, problems);
    let (config, tensors) = (config?, tensors?);
    let modules = module::assemble(&config, tensors, place, problems);
    config.check_targets(modules.keys().map(String::as_str), place, problems);
    (problems.len() == before).then_some(LoraPolicy { modules })
}
