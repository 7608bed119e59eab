//! Files: only those of the pool, exactly as hashed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tureen_soup::{Pool, PoolError, PoolOptions, Weights};

use crate::fixture::{Folder, Lora, PoolDir, base_tensors, sha256};

fn pool() -> PoolDir {
    PoolDir::new(&[Folder::from(&Lora::new("a", 1)), Folder::full("whole", &base_tensors())])
}

fn one_problem(dir: &PoolDir) -> String {
    let problems = dir.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].clone()
}

#[test]
fn links_are_not_followed() {
    for file in ["a/adapter_config.json", "a/adapter_model.safetensors", "whole/model.safetensors"] {
        let dir = pool();
        let path = dir.file(file);
        // To the very bytes of the manifest's hash: the link itself is the problem.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::copy(&path, elsewhere.path().join("same")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(elsewhere.path().join("same"), &path).unwrap();
        assert!(one_problem(&dir).contains("symbolic link"));
    }
    let dir = pool();
    fs::rename(dir.file("a"), dir.file("b")).unwrap();
    symlink(dir.file("b"), dir.file("a")).unwrap();
    assert_eq!(dir.problems().len(), 2);
    assert!(dir.problems().iter().all(|p| p.contains("folder of the pool itself")));

    let dir = pool();
    fs::rename(dir.file("pool.toml"), dir.file("other.toml")).unwrap();
    symlink(dir.file("other.toml"), dir.file("pool.toml")).unwrap();
    assert!(one_problem(&dir).contains("symbolic link"));
}

#[test]
fn the_pools_own_folder_may_be_reached_over_a_link() {
    let dir = pool();
    let root = tempfile::tempdir().unwrap();
    symlink(dir.path(), root.path().join("current")).unwrap();
    let pool = Pool::open(&root.path().join("current"), &PoolOptions::default()).unwrap();
    assert_eq!(pool.revision(), dir.open().revision());
}

#[test]
fn what_is_no_file_is_not_opened() {
    let dir = pool();
    fs::remove_file(dir.file("a/adapter_config.json")).unwrap();
    assert!(one_problem(&dir).contains("missing"));
    fs::create_dir(dir.file("a/adapter_config.json")).unwrap();
    assert!(one_problem(&dir).contains("regular file"));
    fs::remove_dir(dir.file("a/adapter_config.json")).unwrap();
    // A socket stands for all that would block or never end.
    let _socket = std::os::unix::net::UnixListener::bind(dir.file("a/adapter_config.json")).unwrap();
    assert!(one_problem(&dir).contains("regular file"));

    let dir = pool();
    fs::write(dir.file("whole/model.safetensors"), b"").unwrap();
    assert!(one_problem(&dir).contains("empty"));
    fs::remove_dir_all(dir.file("whole")).unwrap();
    assert!(one_problem(&dir).contains("missing"));
    fs::write(dir.file("whole"), b"a file").unwrap();
    assert!(one_problem(&dir).contains("folder"));
}

#[test]
fn any_other_byte_is_another_hash() {
    for weights in [Weights::Mapped, Weights::Read] {
        let open = |dir: &PoolDir| Pool::open(dir.path(), &PoolOptions { weights });
        for file in ["a/adapter_config.json", "a/adapter_model.safetensors", "whole/model.safetensors"] {
            let dir = pool();
            open(&dir).unwrap();
            let good = fs::read(dir.file(file)).unwrap();
            for changed in [[&good[..], b" "].concat(), good[..good.len() - 1].to_vec(), flipped(&good, good.len() - 3)]
            {
                fs::write(dir.file(file), &changed).unwrap();
                let error = open(&dir).unwrap_err().to_string();
                assert!(error.contains(&sha256(&changed)) && error.contains(&sha256(&good)), "{error}");
            }
        }
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn files_that_the_manifest_does_not_name_are_not_read() {
    let dir = pool();
    let revision = *dir.open().revision();
    fs::write(dir.file("a/README.md"), "hello").unwrap();
    fs::write(dir.file("whole/model-2.safetensors"), "not a tensor").unwrap();
    assert_eq!(*dir.open().revision(), revision);
}

#[test]
fn a_manifest_that_cannot_be_read_names_its_path() {
    let root = tempfile::tempdir().unwrap();
    for path in [root.path().to_owned(), root.path().join("missing"), Path::new("/dev/null").to_owned()] {
        let error = Pool::open(&path, &PoolOptions::default()).unwrap_err();
        assert!(error.to_string().contains("pool.toml"), "{error}");
    }
    let error = Pool::open(root.path(), &PoolOptions::default()).unwrap_err();
    assert!(matches!(error, PoolError::Manifest { .. }));
    fs::write(root.path().join("pool.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(Pool::open(root.path(), &PoolOptions::default()).unwrap_err().to_string().contains("allowed"));
}
