//! `adapter_config.json`

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::features;
use super::pattern::{Pattern, is_or_ends_with};
use crate::manifest::ADAPTER_CONFIG;
use crate::problem::Problems;
use crate::unique::UniqueMap;

/// What of the configuration the mathematics needs.
#[derive(Debug)]
pub(super) struct Config {
    rank: u64,
    alpha: f64,
    rslora: bool,
    ranks: Pattern,
    alphas: Pattern,
    /// `None`: a pattern or `all-linear`; the tensors tell.
    targets: Option<Vec<String>>,
    layers: Option<BTreeSet<u64>>,
}

/// Read apart, since a [`Value`] keeps the last of two equal keys.
#[derive(Default, Deserialize)]
struct Patterns {
    rank_pattern: Option<UniqueMap<Value>>,
    alpha_pattern: Option<UniqueMap<Value>>,
}

impl Config {
    /// Adds every problem; `None` when the file is none that could be spoken about.
    pub(super) fn parse(bytes: &[u8], place: &impl fmt::Display, problems: &mut Problems) -> Option<Self> {
        let place = &format!("{place} {ADAPTER_CONFIG}");
        let entries = serde_json::from_slice::<UniqueMap<Value>>(bytes);
        let patterns = serde_json::from_slice::<Patterns>(bytes);
        let (entries, patterns) = match (entries, patterns) {
            (Ok(UniqueMap(entries)), Ok(patterns)) => (entries, patterns),
            (Err(e), _) | (_, Err(e)) => {
                problems.add(place, e);
                return None;
            }
        };
        let get = |key: &str| entries.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, value)| value);
        match get("peft_type") {
            Value::String(kind) if kind == "LORA" => {}
            Value::Null => problems.add(place, "peft_type is missing"),
            // Nothing else in the file would mean what it means for LoRA.
            other => {
                problems.add(place, format_args!("peft_type {other} is not supported, only \"LORA\""));
                return None;
            }
        }
        features::check(&entries, place, problems);
        let rank = get("r").as_u64().filter(|r| *r > 0);
        if rank.is_none() {
            problems.add(place, format_args!("r is {}, not a whole number above 0", get("r")));
        }
        let alpha = get("lora_alpha").as_f64().filter(|a| a.is_finite() && *a > 0.0);
        if alpha.is_none() {
            problems.add(place, format_args!("lora_alpha is {}, not a number above 0", get("lora_alpha")));
        }
        let rslora = match get("use_rslora") {
            Value::Null => false,
            Value::Bool(on) => *on,
            other => {
                problems.add(place, format_args!("use_rslora is {other}, not true or false"));
                false
            }
        };
        Some(Self {
            rank: rank?,
            alpha: alpha?,
            rslora,
            ranks: Pattern::new("rank_pattern", patterns.rank_pattern.unwrap_or_default(), place, problems),
            alphas: Pattern::new("alpha_pattern", patterns.alpha_pattern.unwrap_or_default(), place, problems),
            targets: targets(get("target_modules"), place, problems),
            layers: layers(get("layers_to_transform"), place, problems),
        })
    }

    /// The rank that the configuration gives `module`.
    pub(super) fn rank(&self, module: &str) -> f64 {
        self.ranks.get(module).unwrap_or(self.rank as f64)
    }

    /// The scale of `module`: its own alpha over its own rank, or over the root of it for rsLoRA (arXiv 2312.03732).
    pub(super) fn scale(&self, module: &str, rank: usize) -> f64 {
        let alpha = self.alphas.get(module).unwrap_or(self.alpha);
        let rank = rank as f64;
        alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Compares what the configuration says is changed with what is.
    pub(super) fn check_targets<'a>(
        &self,
        modules: impl Iterator<Item = &'a str> + Clone,
        place: &impl fmt::Display,
        problems: &mut Problems,
    ) {
        if let Some(targets) = &self.targets {
            for module in modules.clone().filter(|m| !targets.iter().any(|t| is_or_ends_with(m, t))) {
                problems.add(place, format_args!("{module} has factors but is none of target_modules"));
            }
            for target in targets.iter().filter(|t| !modules.clone().any(|m| is_or_ends_with(m, t))) {
                problems.add(place, format_args!("target module {target:?} has no factors"));
            }
        }
        if let Some(layers) = &self.layers {
            let present: BTreeSet<u64> = modules.filter_map(layer).collect();
            if present != *layers {
                let what = "layers_to_transform says layers";
                problems.add(place, format_args!("{what} {layers:?}, the factors are of {present:?}"));
            }
        }
    }
}

/// N of `layers.N.` in a module's name.
fn layer(module: &str) -> Option<u64> {
    let (_, rest) = module.split_once("layers.")?;
    rest.split('.').next()?.parse().ok()
}

fn targets(value: &Value, place: &str, problems: &mut Problems) -> Option<Vec<String>> {
    let names = match value {
        Value::String(_) => return None,
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    if names.as_ref().is_none_or(|names: &Vec<String>| names.is_empty()) {
        problems.add(place, format_args!("target_modules is {value}, neither names nor a pattern"));
    }
    names
}

fn layers(value: &Value, place: &str, problems: &mut Problems) -> Option<BTreeSet<u64>> {
    let layers = match value {
        Value::Null => return None,
        Value::Array(items) if items.is_empty() => return None,
        Value::Array(items) => items.iter().map(Value::as_u64).collect(),
        one => one.as_u64().map(|layer| BTreeSet::from([layer])),
    };
    if layers.is_none() {
        problems.add(place, format_args!("layers_to_transform is {value}, neither a layer nor a list of them"));
    }
    layers
}
