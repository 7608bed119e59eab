//! Publishing: round trips, and nothing half done.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tureen_soup::publish::{Entry, PublishError, add_policy};
use tureen_soup::{BaseIdentity, Method, Pool, PoolOptions};

use crate::fixture::{Lora, PoolDir, Q0, Q1, SHAPES, V0, base_facts, bits, merged, safetensors, soup};

fn entry(id: &str, dimension: &str) -> Entry {
    Entry {
        id: id.into(),
        code: "P1A".into(),
        dimension: dimension.into(),
        instruction: "Say \"so\",\nplainly: \u{e9}\u{1f642}".into(),
        license: "Apache-2.0".into(),
    }
}

fn base() -> BaseIdentity {
    base_facts().identity()
}

fn trained(lora: &Lora) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("adapter_config.json"), lora.config_bytes()).unwrap();
    fs::write(dir.path().join("adapter_model.safetensors"), safetensors(&lora.tensors(), lora.dtype)).unwrap();
    fs::write(dir.path().join("optimizer.bin"), b"not for the pool").unwrap();
    dir
}

fn open(dir: &Path) -> Pool {
    let pool = Pool::open(dir, &PoolOptions::default()).unwrap();
    pool.check_base(&base_facts()).unwrap();
    pool
}

/// Every file below `dir` with its bytes.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_pool_grows_policy_by_policy() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("policies");
    let loras = [Lora::new("elementary", 1), Lora::on("expert", 2, 3, &[Q0]), Lora::new("friendly", 3)];
    let mut revisions = Vec::new();
    for (lora, dimension) in loras.iter().zip(["expertise", "expertise", "style"]) {
        revisions.push(add_policy(&dir, &base(), &entry(&lora.id, dimension), trained(lora).path()).unwrap());
    }
    revisions.dedup();
    assert_eq!(revisions.len(), 3);
    let pool = open(&dir);
    assert_eq!(pool.revision(), &revisions[2]);
    assert_eq!(pool.base(), &base());
    let poles = |i: usize| pool.dimensions()[i].poles.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((poles(0), poles(1)), (vec!["elementary".into(), "expert".into()], vec!["friendly".into()]));
    let policy = &pool.policies()[0];
    assert_eq!(policy.instruction(), entry("", "").instruction);
    assert_eq!((policy.code(), policy.dimension(), policy.license()), ("P1A", "expertise", "Apache-2.0"));
    // The pool serves what was trained.
    let direct = PoolDir::of(&loras).open();
    for (name, _) in SHAPES {
        let wish = &[("expert", 0.3), ("friendly", 0.7)][..];
        let (published, expected) = (soup(&pool, wish, Method::Exact), soup(&direct, wish, Method::Exact));
        assert_eq!(bits(&merged(&pool, &published, name)), bits(&merged(&direct, &expected, name)));
    }
    // Nothing else came along, nothing temporary stayed.
    let names: Vec<String> = snapshot(&dir).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    // Publishing the same again changes nothing.
    assert_eq!(
        add_policy(&dir, &base(), &entry("friendly", "style"), trained(&loras[2]).path()).unwrap(),
        revisions[2]
    );
}

#[test]
fn a_policy_is_replaced_and_may_change_its_dimension() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    add_policy(dir, &base(), &entry("concise", "length"), trained(&Lora::new("concise", 1)).path()).unwrap();
    fs::write(dir.join("concise/README.md"), "a report").unwrap();
    let old = open(dir);
    let wish = &[("concise", 1.0)][..];
    let before = merged(&old, &soup(&old, wish, Method::Exact), Q0);
    // From its own folder, where the trainer may have written it.
    let again = Lora::on("concise", 2, 1, &[V0, Q1]);
    for (name, bytes) in snapshot(trained(&again).path()) {
        let name = Path::new(&name).file_name().unwrap();
        fs::write(dir.join("concise").join(name), bytes).unwrap();
    }
    let revision = add_policy(dir, &base(), &entry("concise", "informativeness"), &dir.join("concise")).unwrap();
    let pool = open(dir);
    assert_eq!((pool.revision(), pool.policies().len()), (&revision, 1));
    let dimensions: Vec<&str> = pool.dimensions().iter().map(|d| d.id.as_str()).collect();
    assert_eq!(dimensions, ["informativeness"], "a dimension without poles goes");
    assert_eq!(fs::read_to_string(dir.join("concise/README.md")).unwrap(), "a report");
    // Whoever has the old pool open goes on with it.
    assert_eq!(bits(&merged(&old, &soup(&old, wish, Method::Exact), Q0)), bits(&before));
    assert!(old.changed_files().is_empty());
}

#[test]
fn a_refused_policy_leaves_the_pool_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let good = Lora::new("concise", 1);
    add_policy(dir, &base(), &entry("concise", "length"), trained(&good).path()).unwrap();
    let before = snapshot(dir);

    let dora = Lora::new("x", 2).config(json!({"use_dora": true}));
    let mut broken = Lora::new("x", 2);
    broken.modules[0].b[0] = f32::NAN;
    let refused = |entry: &Entry, lora: &Lora| {
        let error = add_policy(dir, &base(), entry, trained(lora).path()).unwrap_err();
        assert_eq!(snapshot(dir), before, "{error}");
        error.to_string()
    };
    assert!(refused(&entry("new", "length"), &dora).contains("DoRA"));
    assert!(refused(&entry("concise", "length"), &broken).contains("finite"));
    assert!(refused(&entry("Not An Id", "length"), &good).contains("an id is"));
    assert!(refused(&entry("../concise", "length"), &good).contains("an id is"));
    assert!(refused(&entry("new", "Not An Id"), &good).contains("an id is"));
    assert!(refused(&Entry { license: String::new(), ..entry("new", "length") }, &good).contains("license is empty"));

    let nowhere = add_policy(dir, &base(), &entry("new", "length"), &dir.join("missing")).unwrap_err();
    assert!(matches!(nowhere, PublishError::Io { .. }));
    let other = BaseIdentity { sha256: "ef".repeat(32), ..base() };
    let error = add_policy(dir, &other, &entry("new", "length"), trained(&good).path()).unwrap_err();
    assert!(matches!(error, PublishError::OtherBase { .. }), "{error}");
    assert_eq!(snapshot(dir), before);
}

#[test]
fn a_pool_that_is_broken_elsewhere_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    for id in ["concise", "friendly"] {
        add_policy(dir, &base(), &entry(id, "length"), trained(&Lora::new(id, 1)).path()).unwrap();
    }
    let model = dir.join("friendly/adapter_model.safetensors");
    let good = fs::read(&model).unwrap();
    fs::write(&model, b"broken").unwrap();
    let before = snapshot(dir);
    for id in ["concise", "new"] {
        let error = add_policy(dir, &base(), &entry(id, "length"), trained(&Lora::new("x", 9)).path()).unwrap_err();
        assert!(matches!(error, PublishError::Refused(_)) && error.to_string().contains("friendly"), "{error}");
        assert_eq!(snapshot(dir), before);
    }
    // A stage that a killed publisher left behind is in nobody's way.
    fs::write(&model, good).unwrap();
    fs::create_dir_all(dir.join(".publish/concise")).unwrap();
    fs::write(dir.join(".publish/concise/adapter_config.json"), "{}").unwrap();
    add_policy(dir, &base(), &entry("concise", "length"), trained(&Lora::new("x", 9)).path()).unwrap();
    assert!(!dir.join(".publish").exists());
    fs::write(dir.join("pool.toml"), "nonsense").unwrap();
    let error = add_policy(dir, &base(), &entry("x", "y"), trained(&Lora::new("x", 9)).path()).unwrap_err();
    assert!(matches!(error, PublishError::Manifest { .. }));
}

#[test]
fn publishers_at_the_same_time_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..6).map(|i| format!("policy{i}")).collect();
    std::thread::scope(|scope| {
        for (id, seed) in ids.iter().zip(1..) {
            let dir = root.path();
            scope.spawn(move || {
                add_policy(dir, &base(), &entry(id, "style"), trained(&Lora::new(id, seed)).path()).unwrap();
            });
        }
    });
    assert_eq!(open(root.path()).policies().len(), 6);
}

#[test]
fn a_reader_beside_a_publisher_sees_one_pool_or_the_other() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let versions = [trained(&Lora::new("concise", 1)), trained(&Lora::new("concise", 2))];
    let publish =
        |version: &tempfile::TempDir| add_policy(dir, &base(), &entry("concise", "length"), version.path()).unwrap();
    let revisions = [publish(&versions[1]), publish(&versions[0])];
    let done = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut opened = 0;
            while !done.load(Ordering::Relaxed) {
                let pool = Pool::open(dir, &PoolOptions::default()).unwrap();
                assert!(revisions.contains(pool.revision()));
                opened += 1;
            }
            opened
        });
        for round in 0..30 {
            publish(&versions[round % 2]);
            if reader.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(opened > 0);
}
