//! Mutants of `adapter_config.json`: what could change the mathematics is refused by name.

use serde_json::{Value, json};

use crate::fixture::{Folder, Lora, PoolDir, Q0, Q1, V0, manifest, sha256};

fn problems(config: Value) -> Vec<String> {
    PoolDir::of(&[Lora::new("a", 1).config(config)]).problems()
}

#[test]
fn features_that_change_the_mathematics_are_refused_by_name() {
    let cases = [
        (json!({"use_dora": true}), "DoRA"),
        (json!({"use_dora": "yes"}), "DoRA"),
        (json!({"bias": "all"}), "bias"),
        (json!({"bias": "lora_only"}), "bias"),
        (json!({"lora_bias": true}), "bias on the factors"),
        (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
        (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
        (json!({"trainable_token_indices": [1]}), "token embeddings"),
        (json!({"layer_replication": [[0, 1]]}), "layer_replication"),
        (json!({"target_parameters": ["w"]}), "target_parameters"),
        (json!({"alora_invocation_tokens": [1, 2]}), "activated LoRA"),
        (json!({"use_qalora": true}), "QALoRA"),
        (json!({"use_bdlora": {"nblocks": 2}}), "block-diagonal"),
        (json!({"megatron_config": {"a": 1}}), "Megatron"),
        (json!({"loftq_config": {"loftq_bits": 4}}), "LoftQ"),
        (json!({"eva_config": {"rho": 2.0}}), "EVA"),
        (json!({"corda_config": {"corda_method": "ipm"}}), "CorDA"),
        (json!({"lora_ga_config": {"scale": "stable"}}), "LoRA-GA"),
        (json!({"arrow_config": {"top_k": 3}}), "Arrow"),
        (json!({"kasa_config": {"beta": 1}}), "KaSA"),
        (json!({"monteclora_config": {"a": 1}}), "MonteCLoRA"),
        (json!({"init_lora_weights": "pissa"}), "init_lora_weights"),
        (json!({"init_lora_weights": "pissa_niter_16"}), "init_lora_weights"),
        (json!({"init_lora_weights": "olora"}), "init_lora_weights"),
        (json!({"init_lora_weights": "loftq"}), "init_lora_weights"),
        (json!({"init_lora_weights": "corda"}), "init_lora_weights"),
        (json!({"init_lora_weights": "eva"}), "init_lora_weights"),
        (json!({"init_lora_weights": 3}), "init_lora_weights"),
        (json!({"task_type": "SEQ_CLS"}), "task_type"),
        (json!({"peft_type": "IA3"}), "IA3"),
        (json!({"peft_type": "ADALORA"}), "ADALORA"),
        (json!({"peft_type": 1}), "peft_type"),
        (json!({"peft_type": "<remove>"}), "peft_type is missing"),
        (json!({"some_new_feature": true}), "some_new_feature"),
        (json!({"some_new_feature": 0}), "some_new_feature"),
        (json!({"ensure_weight_tying": true}), "ensure_weight_tying"),
    ];
    for (config, name) in cases {
        let found = problems(config.clone());
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].contains(name), "{config}: {found:?}");
        assert!(found[0].contains("policy a") && found[0].contains("adapter_config.json"), "{found:?}");
    }
}

#[test]
fn what_changes_nothing_is_read_over() {
    for config in [
        json!({"some_new_feature": false, "other": null, "third": [], "fourth": {}, "fifth": ""}),
        json!({"init_lora_weights": false}),
        json!({"init_lora_weights": "gaussian"}),
        json!({"init_lora_weights": "orthogonal"}),
        json!({"lora_dropout": 0.5, "peft_version": "0.21.2", "revision": "main", "exclude_modules": ["lm_head"]}),
        json!({"auto_mapping": {"base_model_class": "LlamaForCausalLM"}, "task_type": null, "loftq_config": {}}),
        json!({"runtime_config": {"ephemeral_gpu_offload": false}, "layers_pattern": "layers"}),
        json!({"target_modules": "all-linear"}),
        json!({"target_modules": ".*self_attn.*"}),
        json!({"target_modules": [Q0, V0, Q1]}),
        json!({"layers_to_transform": [0, 1]}),
        json!({"layers_to_transform": []}),
        json!({"rank_pattern": null, "alpha_pattern": null, "use_rslora": null, "bias": null}),
        json!({"rank_pattern": {"v_proj": 2}}),
        json!({"r": 9, "lora_alpha": 4.5, "rank_pattern": {"q_proj": 2, "self_attn.v_proj": 2}}),
    ] {
        assert_eq!(problems(config.clone()), [""; 0], "{config}");
    }
}

#[test]
fn numbers_and_names_must_fit() {
    let cases = [
        (json!({"r": 0}), "r is 0"),
        (json!({"r": -2}), "r is -2"),
        (json!({"r": 2.5}), "r is 2.5"),
        (json!({"r": "2"}), "r is \"2\""),
        (json!({"r": "<remove>"}), "r is null"),
        (json!({"r": 3}), "has rank 2, the configuration says 3"),
        (json!({"lora_alpha": 0}), "lora_alpha is 0"),
        (json!({"lora_alpha": -1}), "lora_alpha is -1"),
        (json!({"lora_alpha": "4"}), "lora_alpha"),
        (json!({"lora_alpha": "<remove>"}), "lora_alpha is null"),
        (json!({"use_rslora": 1}), "use_rslora"),
        (json!({"rank_pattern": {"q_proj": 3}}), "the configuration says 3"),
        (json!({"rank_pattern": {"q_proj": 0}}), "rank_pattern \"q_proj\" is 0"),
        (json!({"rank_pattern": {"q_proj": "x"}}), "rank_pattern \"q_proj\""),
        (json!({"rank_pattern": {"^model.*": 2}}), "regular expression"),
        (json!({"alpha_pattern": {"(q|v)_proj": 2}}), "regular expression"),
        (json!({"alpha_pattern": {"q_proj": -2}}), "not a number above 0"),
        (json!({"alpha_pattern": [1]}), "a map"),
        (json!({"target_modules": []}), "target_modules is []"),
        (json!({"target_modules": null}), "target_modules is null"),
        (json!({"target_modules": [1]}), "target_modules"),
        (json!({"target_modules": ["q_proj"]}), "none of target_modules"),
        (json!({"target_modules": ["proj"]}), "none of target_modules"),
        (json!({"target_modules": ["q_proj", "v_proj", "k_proj"]}), "\"k_proj\" has no factors"),
        (json!({"layers_to_transform": [0]}), "layers_to_transform"),
        (json!({"layers_to_transform": 1}), "layers_to_transform"),
        (json!({"layers_to_transform": [0, 1, 2]}), "layers_to_transform"),
        (json!({"layers_to_transform": "all"}), "layers_to_transform"),
    ];
    for (config, message) in cases {
        let found = problems(config.clone());
        assert!(found.iter().any(|p| p.contains(message)), "{config}: {found:?}");
    }
}

#[test]
fn text_that_is_no_configuration_is_refused() {
    let good = String::from_utf8(Lora::new("a", 1).config_bytes()).unwrap();
    let infinite = good.replacen("\"lora_alpha\": 4.0", "\"lora_alpha\": 1e999", 1);
    let twice = good.replacen('{', "{\"use_dora\": true,", 1);
    let nested = good.replacen("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q_proj\": 1, \"q_proj\": 2}", 1);
    let deep = "[".repeat(100_000);
    for (text, message) in [
        ("", "empty"),
        ("null", "a map"),
        ("[]", "a map"),
        ("{", "EOF"),
        ("\u{feff}{}", "expected value"),
        (&good[..good.len() / 2], "EOF"),
        (&format!("{good}x"), "trailing"),
        (&deep, "a map"),
        (&format!("{{\"peft_type\": {deep}"), "recursion limit"),
        (&infinite, "out of range"),
        (&twice, "\"use_dora\" is there twice"),
        (&nested, "\"q_proj\" is there twice"),
    ] {
        let mut folder = Folder::from(&Lora::new("a", 1));
        folder.files.insert("adapter_config.json".into(), text.as_bytes().to_vec());
        let dir = PoolDir::new(std::slice::from_ref(&folder));
        assert!(dir.manifest().contains(&sha256(text.as_bytes())));
        assert_eq!(dir.manifest(), manifest(&[folder]));
        let found = dir.problems();
        assert!(found.len() == 1 && found[0].contains(message), "{found:?}");
    }
}

#[test]
fn a_configuration_may_not_be_endless() {
    let mut folder = Folder::from(&Lora::new("a", 1));
    folder.files.insert("adapter_config.json".into(), vec![b' '; (1 << 20) + 1]);
    let found = PoolDir::new(&[folder]).problems();
    assert!(found.len() == 1 && found[0].contains("1048576 are allowed"), "{found:?}");
}

#[test]
fn all_problems_of_all_policies_are_told_at_once() {
    let bad = |id, seed| Lora::new(id, seed).config(json!({"use_dora": true, "bias": "all", "r": 0, "new": 1}));
    let found = PoolDir::of(&[bad("a", 1), bad("b", 2)]).problems();
    assert_eq!(found.len(), 8, "{found:?}");
}
