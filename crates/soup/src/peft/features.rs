//! Which keys of `adapter_config.json` are known, and which of them are refused.

use serde_json::Value;

use crate::problem::Problems;

/// Keys that [`super::config`] reads itself.
const READ: &[&str] = &[
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
];

/// Keys that say nothing about the mathematics of a trained adapter: the tensors' own names and shapes are what counts.
const IGNORED: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Features that change what is computed, or the base itself. Refused when they are on.
const REFUSED: &[(&str, &str)] = &[
    ("use_dora", "DoRA"),
    ("modules_to_save", "fully trained modules"),
    ("lora_bias", "a bias on the factors"),
    ("fan_in_fan_out", "transposed weights"),
    ("trainable_token_indices", "trained token embeddings"),
    ("layer_replication", "replicated layers"),
    ("target_parameters", "LoRA on bare parameters"),
    ("alora_invocation_tokens", "activated LoRA"),
    ("use_qalora", "QALoRA"),
    ("use_bdlora", "block-diagonal LoRA"),
    ("megatron_config", "Megatron layers"),
    ("loftq_config", "LoftQ, which changes the base"),
    ("eva_config", "EVA"),
    ("corda_config", "CorDA, which changes the base"),
    ("lora_ga_config", "LoRA-GA, which changes the base"),
    ("arrow_config", "Arrow routing"),
    ("kasa_config", "KaSA"),
    ("velora_config", "VeLoRA"),
    ("monteclora_config", "MonteCLoRA"),
];

/// Adds a problem for each entry that would be served wrongly.
pub(super) fn check(entries: &[(String, Value)], place: &str, problems: &mut Problems) {
    for (key, value) in entries {
        let refused = REFUSED.iter().find(|(name, _)| name == key);
        match (key.as_str(), refused) {
            (_, Some((_, feature))) if is_set(value) => {
                problems.add(place, format_args!("{feature} is not supported: {key} is {value}"));
            }
            (_, Some(_)) => {}
            ("bias", _) if is_set(value) && value != "none" => {
                problems.add(place, format_args!("trained biases are not supported: bias is {value}, not \"none\""));
            }
            ("bias", _) => {}
            ("task_type", _) if is_set(value) && value != "CAUSAL_LM" => {
                problems.add(place, format_args!("task_type {value} is not supported, only \"CAUSAL_LM\""));
            }
            ("task_type", _) => {}
            ("init_lora_weights", _) => check_initialisation(value, place, problems),
            (known, _) if READ.contains(&known) || IGNORED.contains(&known) => {}
            _ if is_set(value) => {
                problems.add(place, format_args!("key {key:?} is not known: {value} may change what is computed"));
            }
            _ => {}
        }
    }
}

/// PiSSA, OLoRA, LoftQ, CorDA and others subtract the first factors from the base, so that the trained ones do not fit
/// the base as it was published.
fn check_initialisation(value: &Value, place: &str, problems: &mut Problems) {
    let harmless = match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text == "gaussian" || text == "orthogonal",
        _ => false,
    };
    if !harmless {
        problems.add(place, format_args!("init_lora_weights {value} is not supported: it may change the base"));
    }
}

/// What Python calls true, but for numbers: any number is a setting.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
