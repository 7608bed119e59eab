//! Mutants of `adapter_model.safetensors` whose hash is right: the tensors themselves are checked.

use safetensors::Dtype;

use crate::fixture::{Folder, Lora, PoolDir, Q0, Tensors, base_tensors, safetensors};

const A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn problems(dtype: Dtype, change: &dyn Fn(&mut Tensors)) -> Vec<String> {
    let lora = Lora::new("a", 1);
    let mut tensors = lora.tensors();
    change(&mut tensors);
    let mut folder = Folder::from(&lora);
    folder.files.insert("adapter_model.safetensors".into(), safetensors(&tensors, dtype));
    PoolDir::new(&[folder]).problems()
}

fn put(tensors: &mut Tensors, name: &str, shape: &[usize]) {
    tensors.insert(name.into(), (shape.to_vec(), vec![0.5; shape.iter().product()]));
}

#[test]
fn every_wrong_tensor_is_refused() {
    let module = "base_model.model.model.layers.0.self_attn.q_proj";
    let named = |suffix: &str| format!("{module}.{suffix}");
    type Change<'a> = &'a dyn Fn(&mut Tensors);
    let cases: &[(Change<'_>, &str)] = &[
        (&|t| drop(t.remove(A)), "lora_B but no lora_A"),
        (&|t| drop(t.remove(B)), "lora_A but no lora_B"),
        (&|t| t.clear(), "no factors at all"),
        (&|t| t.retain(|n, _| !n.contains("v_proj")), "\"v_proj\" has no factors"),
        (&|t| put(t, A, &[5, 2]), "do not have one rank"),
        (&|t| put(t, B, &[2, 6]), "do not have one rank"),
        (&|t| put(t, A, &[10]), "not of a matrix"),
        (&|t| put(t, A, &[1, 2, 5]), "not of a matrix"),
        (&|t| put(t, B, &[]), "not of a matrix"),
        (&|t| put(t, A, &[0, 5]), "not of a matrix"),
        (&|t| put(t, A, &[2, 0]), "not of a matrix"),
        (&|t| put(t, A, &[2, 4]), "the base has [6, 5]"),
        (&|t| put(t, B, &[7, 2]), "the base has [6, 5]"),
        (&|t| put(t, A, &[3, 5]), "do not have one rank"),
        (&|t| [(A, [3, 5]), (B, [6, 3])].iter().for_each(|(n, s)| put(t, n, s)), "the configuration says 2"),
        (&|t| t.get_mut(A).unwrap().1[3] = f32::NAN, "value 3 is NaN"),
        (&|t| t.get_mut(B).unwrap().1[0] = f32::INFINITY, "value 0 is inf"),
        (&|t| t.get_mut(B).unwrap().1[11] = f32::NEG_INFINITY, "value 11 is -inf"),
        (&|t| put(t, &named("lora_magnitude_vector"), &[6]), "DoRA"),
        (&|t| put(t, &named("lora_magnitude_vector.weight"), &[6]), "DoRA"),
        (&|t| put(t, &named("lora_B.bias"), &[6]), "bias on the factors"),
        (&|t| put(t, &named("lora_embedding_A"), &[2, 8]), "embeddings"),
        (&|t| put(t, "base_model.model.lm_head.modules_to_save.weight", &[8, 5]), "fully trained module"),
        (&|t| put(t, "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", &[1, 5]), "token"),
        (&|t| put(t, &named("lora_A.default.weight"), &[2, 5]), "no factor of a LoRA module"),
        (&|t| put(t, &named("base_layer.weight"), &[6, 5]), "no factor of a LoRA module"),
        (&|t| put(t, "model.layers.0.self_attn.q_proj.weight", &[6, 5]), "no factor of a LoRA module"),
        (&|t| put(t, "base_model.model..lora_A.weight", &[6, 5]), "no factor of a LoRA module"),
        (&|t| put(t, "base_model.model.lora_A.weight", &[6, 5]), "no factor of a LoRA module"),
        (&|t| put(t, "", &[1]), "no factor of a LoRA module"),
        (&|t| put(t, "line\nbreak\u{1b}[2J", &[1]), "no factor of a LoRA module"),
        (&|t| add(t, "model.layers.0.mlp.q_proj"), "no linear layer model.layers.0.mlp.q_proj"),
        (&|t| add(t, "model.layers.7.self_attn.q_proj"), "no linear layer model.layers.7"),
        (&|t| add(t, "model.layers.0.self_attn.o_proj"), "none of target_modules"),
    ];
    for (i, (change, message)) in cases.iter().enumerate() {
        let found = problems(Dtype::F32, change);
        assert!(found.iter().any(|p| p.contains(message)), "case {i}, {message}: {found:?}");
        assert!(found.iter().all(|p| !p.contains(char::is_control)), "{found:?}");
    }
}

fn add(tensors: &mut Tensors, module: &str) {
    put(tensors, &format!("base_model.model.{module}.lora_A.weight"), &[2, 5]);
    put(tensors, &format!("base_model.model.{module}.lora_B.weight"), &[6, 2]);
}

#[test]
fn types_that_are_not_read_are_refused() {
    let found = problems(Dtype::F64, &|_| {});
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found.iter().all(|p| p.contains("F64")));
}

#[test]
fn all_wrong_tensors_are_told_at_once() {
    let found = problems(Dtype::F32, &|t| {
        drop(t.remove(A));
        put(t, "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", &[3, 9]);
        t.get_mut("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight").unwrap().1[1] = f32::NAN;
        put(t, "stray", &[1]);
    });
    // Those, and what the targets then lack: no sound v_proj.
    assert!(found.len() >= 4, "{found:?}");
    for part in ["no lora_A", "one rank", "NaN", "stray"] {
        assert!(found.iter().any(|p| p.contains(part)), "{part}: {found:?}");
    }
}

#[test]
fn checkpoints_are_checked_value_by_value_too() {
    let mut tensors = base_tensors();
    tensors.get_mut("model.norm.weight").unwrap().1[4] = f32::NAN;
    tensors.get_mut(&format!("{Q0}.weight")).unwrap().1[0] = f32::INFINITY;
    let found = PoolDir::new(&[Folder::full("whole", &tensors)]).problems();
    assert_eq!(found.len(), 2, "{found:?}");
    let mut folder = Folder::full("whole", &base_tensors());
    folder.files.insert("model.safetensors".into(), safetensors(&base_tensors(), Dtype::F64));
    assert!(PoolDir::new(&[folder]).problems().iter().all(|p| p.contains("F64")));
    let empty = PoolDir::new(&[Folder::full("whole", &Tensors::new())]).problems();
    assert!(empty.len() == 1 && empty[0].contains("no tensors at all"), "{empty:?}");
}

#[test]
fn a_file_of_nothing_but_problems_is_told_in_bounded_words() {
    let found = problems(Dtype::F32, &|t| {
        (0..3000).for_each(|i| put(t, &format!("{i}{}", "x".repeat(1000)), &[1]));
    });
    assert_eq!(found.len(), 1001);
    assert!(found.iter().all(|p| p.len() < 1000));
    assert!(found[1000].contains("and 2000 more problems"), "{}", found[1000]);
}
