//! `adapter_config.json` as PEFT writes it.

use serde_json::{Value, json};

use super::Adapter;

pub(super) fn bytes(adapter: &Adapter, base_name: &str) -> Vec<u8> {
    let Adapter { rank, alpha, modules, metadata: _ } = adapter;
    // PEFT's own type is an integer; it writes one, and so do we where that says it all.
    let alpha = if alpha.fract() == 0.0 && *alpha < 1e15 { json!(*alpha as u64) } else { json!(alpha) };
    // Full names: a short one would also match layers that have no factors here.
    let targets: Vec<Value> = modules.keys().map(|name| json!(name)).collect();
    let config = json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_pattern": null,
        "layers_to_transform": null,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "revision": null,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    format!("{config:#}\n").into_bytes()
}
