//! Whether pool and base belong together.

use tureen_soup::BaseFacts;

use crate::fixture::{Folder, Lora, PoolDir, Q0, Q1, Tensors, V0, base_facts, base_tensors};

fn problems(folders: &[Folder], base: &BaseFacts) -> Vec<String> {
    let pool = PoolDir::new(folders).try_open().unwrap_or_else(|e| panic!("{e}"));
    match pool.check_base(base) {
        Ok(()) => Vec::new(),
        Err(e) => e.to_string().lines().map(str::to_owned).collect(),
    }
}

fn lora() -> Vec<Folder> {
    vec![Folder::from(&Lora::new("a", 1))]
}

#[test]
fn contents_decide_and_not_the_name() {
    assert_eq!(problems(&lora(), &base_facts()), [""; 0]);
    assert_eq!(problems(&lora(), &BaseFacts { name: "renamed".into(), ..base_facts() }), [""; 0]);
    let other = BaseFacts { sha256: "12".repeat(32), vocabulary_sha256: "34".repeat(32), ..base_facts() };
    let found = problems(&lora(), &other);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(&"12".repeat(32)) && found[0].contains(&"ab".repeat(32)));
    assert!(found[1].contains("vocabulary"));
}

#[test]
fn every_difference_of_every_policy_is_listed() {
    let mut base = base_facts();
    base.sha256 = "12".repeat(32);
    base.shapes.insert(format!("{Q0}.weight"), vec![5, 6]);
    base.shapes.insert(format!("{V0}.weight"), vec![3, 5, 1]);
    base.shapes.remove(&format!("{Q1}.weight"));
    let folders = [Folder::from(&Lora::new("a", 1)), Folder::from(&Lora::on("b", 2, 1, &[Q0]))];
    let found = problems(&folders, &base);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[1].contains("policy a") && found[1].contains("[6, 5]") && found[1].contains("[5, 6]"));
    assert!(found[2].contains("[3, 5, 1]") && found[3].contains("no linear layer") && found[4].contains("policy b"));
}

#[test]
fn embeddings_are_no_linear_layers() {
    let mut lora = Lora::on("a", 1, 2, &[Q0]);
    lora.modules[0].name = "model.embed_tokens".into();
    lora.modules[0].out = 8;
    lora.modules[0].b = vec![0.5; 16];
    let found = problems(&[Folder::from(&lora)], &base_facts());
    assert!(found.len() == 1 && found[0].contains("embeddings"), "{found:?}");
}

#[test]
fn checkpoints_have_the_bases_tensors_and_no_others() {
    let change = |f: &dyn Fn(&mut Tensors)| {
        let mut tensors = base_tensors();
        f(&mut tensors);
        problems(&[Folder::full("whole", &tensors)], &base_facts())
    };
    assert_eq!(change(&|_| {}), [""; 0]);
    let missing = change(&|t| drop(t.remove("model.norm.weight")));
    assert!(missing.len() == 1 && missing[0].contains("lacks the tensor model.norm.weight"), "{missing:?}");
    let extra = change(&|t| drop(t.insert("lm_head.weight".into(), (vec![1], vec![0.0]))));
    assert!(extra.len() == 1 && extra[0].contains("no tensor lm_head.weight"), "{extra:?}");
    let turned = change(&|t| t.get_mut("model.embed_tokens.weight").unwrap().0 = vec![5, 8]);
    assert!(turned.len() == 1 && turned[0].contains("[5, 8]"), "{turned:?}");
}
