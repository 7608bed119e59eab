//! Mutants of `pool.toml`: every one refused with a message that says what is wrong.

use crate::fixture::{Folder, Lora, PoolDir, base_tensors, manifest};

fn folders() -> Vec<Folder> {
    vec![Folder::from(&Lora::new("a", 1)), Folder::from(&Lora::new("b", 2)), Folder::full("whole", &base_tensors())]
}

fn problems_of(text: &str) -> Vec<String> {
    let dir = PoolDir::new(&folders());
    dir.write_manifest(text);
    dir.problems()
}

#[test]
fn typos_are_refused() {
    let hash = "ab".repeat(32);
    let cases = [
        ("format = 1", "", "`format = 1` is missing"),
        ("format = 1", "format = 2", "format 2 is not known"),
        ("format = 1", "format = \"1\"", "is not known"),
        ("format = 1", "format = nan", "is not known"),
        ("format = 1", "format = 1\nformat = 1", "duplicate key"),
        ("format = 1", "format = ", "line 1"),
        ("format = 1", "format = 1\nextra = 1", "unknown key \"extra\""),
        ("[base]", "[basis]", "[base] is missing"),
        ("name = \"pretended\"", "name = \" \"", "name is empty"),
        ("name = \"pretended\"", "name = 1", "invalid type"),
        ("name = \"pretended\"", "name = \"x\"\nrevision = \"x\"", "unknown field `revision`"),
        (&hash, "abc", "64 lower-case hex"),
        (&hash, &hash.to_uppercase(), "64 lower-case hex"),
        ("vocabulary_sha256", "vocab_sha256", "vocab_sha256"),
        ("[[dimension]]\nid = \"of-a\"", "[[dimension]]\nid = \"of-b\"", "twice"),
        ("[[dimension]]\nid = \"of-a\"", "[[dimension]]\nid = \"\"", "an id is"),
        ("[[dimension]]\nid = \"of-a\"", "[[dimension]]\nid = \"of-a\"\ncolour = 1", "unknown field `colour`"),
        ("poles = [\"a\"]", "poles = []", "not a pole of its dimension"),
        ("poles = [\"a\"]", "poles = [\"a\", \"a\"]", "twice"),
        ("poles = [\"a\"]", "poles = [\"a\", \"nobody\"]", "\"nobody\" is no"),
        ("poles = [\"a\"]", "poles = [\"a\", \"b\"]", "says its dimension is"),
        ("poles = [\"a\"]", "poles = \"a\"", "invalid type"),
        ("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"b\"", "the id is there twice"),
        ("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"A\"", "an id is"),
        ("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"-a\"", "an id is"),
        ("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"\"", "an id is"),
        ("[[policy]]\nid = \"a\"", "[[policy]]", "missing field `id`"),
        ("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"a\"\nalpha = 3", "unknown field `alpha`"),
        ("code = \"P\"", "code = \"\"", "code is empty"),
        ("dimension = \"of-a\"", "dimension = \"of-z\"", "not in the manifest"),
        ("instruction = \"Be a.\"", "instruction = \"\"", "instruction is empty"),
        ("license = \"Apache-2.0\"", "", "missing field `license`"),
        ("kind = \"lora\"", "kind = \"dora\"", "unknown variant `dora`"),
        ("kind = \"lora\"", "kind = \"full\"", "none that a policy of this kind"),
        ("kind = \"full\"", "kind = \"lora\"", "lacks \"adapter_config.json\""),
        ("dir = \"a\"", "dir = \"b\"", "another policy has dir"),
        ("dir = \"a\"", "dir = \"../a\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"..\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \".\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"/etc\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"b/../a\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"a\\u0000\"", "not the name of one folder"),
        ("dir = \"a\"", "dir = \"missing\"", "missing"),
        ("\"adapter_config.json\"", "\"../a/adapter_config.json\"", "none that a policy of this kind"),
        ("\"adapter_config.json\"", "\"config.json\"", "lacks \"adapter_config.json\""),
        ("\"model.safetensors\"", "\"../whole/model.safetensors\"", "none that a policy of this kind"),
        ("\"model.safetensors\"", "\"model.bin\"", "none that a policy of this kind"),
        ("\"model.safetensors\"", "\"/tmp/model.safetensors\"", "none that a policy of this kind"),
        ("\"model.safetensors\" = \"", "\"model.safetensors\" = \"0", "64 lower-case hex"),
        ("[[policy]]", "[policy]", "line"),
        ("[[dimension]]\nid = \"of-a\"\npoles = [\"a\"]", "", "dimension \"of-a\" is not in the manifest"),
    ];
    assert!(cases.len() >= 50);
    for (from, to, message) in cases {
        let good = manifest(&folders());
        assert!(good.contains(from), "{from}");
        let problems = problems_of(&good.replacen(from, to, 1));
        assert!(problems.iter().any(|p| p.contains(message)), "{from} -> {to}: {problems:?}");
        assert!(problems.iter().all(|p| !p.contains(char::is_control)), "one line each: {problems:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let good = manifest(&folders());
    let bad = good
        .replacen("format = 1", "format = 7", 1)
        .replacen("[[policy]]\nid = \"a\"", "[[policy]]\nid = \"?\"", 1)
        .replacen("dir = \"b\"", "dir = \"/b\"", 1)
        .replacen("poles = [\"whole\"]", "poles = []", 1);
    let dir = PoolDir::new(&folders());
    dir.write_manifest(&bad);
    std::fs::write(dir.file("whole/model.safetensors"), "x").unwrap();
    let problems = dir.problems();
    for part in ["format 7", "policy \"?\"", "\"/b\"", "not a pole", "sha256", "pole \"a\"", "pole \"b\""] {
        assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:?}");
    }
}

#[test]
fn every_byte_of_the_manifest_is_part_of_the_revision() {
    let dir = PoolDir::new(&folders());
    let first = *dir.open().revision();
    assert_eq!(*dir.open().revision(), first);
    assert_eq!(first.to_string().len(), 34);
    let good = dir.manifest();
    for changed in [format!("{good}\n"), format!("# a comment\n{good}"), good.replacen("Be a.", "Be b.", 1)] {
        dir.write_manifest(&changed);
        assert_ne!(*dir.open().revision(), first);
    }
    dir.write_manifest(&good);
    assert_eq!(*dir.open().revision(), first);
    let other = PoolDir::new(&[Folder::from(&Lora::new("a", 1)), Folder::from(&Lora::new("b", 3))]);
    assert_ne!(*other.open().revision(), first);
}

#[test]
fn text_that_is_no_manifest_is_refused() {
    for bytes in [&b"\xff\xfe\x00"[..], b"\0", b"{}", b"<html>", b"[[[[", b"a.a.a = 1\na.a = 2", &[b'['; 100_000]] {
        let dir = PoolDir::new(&folders());
        std::fs::write(dir.file("pool.toml"), bytes).unwrap();
        assert_eq!(dir.problems().len(), 1, "{:?}", dir.problems());
    }
    // Nothing in it is a pool without a base.
    assert!(problems_of("# nothing\n").iter().any(|p| p.contains("[base]")));
}

#[test]
fn a_pool_may_be_without_policies() {
    let dir = PoolDir::new(&[]);
    assert!(dir.open().policies().is_empty());
}

#[test]
fn too_many_policies_are_refused() {
    let many: Vec<Folder> = (0..257)
        .map(|i| Folder { id: format!("p{i}"), kind: "lora", files: std::collections::BTreeMap::new() })
        .collect();
    let problems = problems_of(&manifest(&many));
    assert!(problems.iter().any(|p| p.contains("257 policies, 256 are allowed")), "{problems:?}");
}
