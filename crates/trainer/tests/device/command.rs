//! `--device`, where there is no GPU to be had.

use std::path::Path;
use std::process::{Command, Output};

fn trainer(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
    command.current_dir(folder).args(arguments).output().unwrap()
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_build_without_cuda_says_so_before_anything_is_read_or_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    let config = ["--config", "nowhere.toml"];
    let commands: [(&str, &[&str]); 7] = [
        ("rollout", &config),
        ("reward", &config),
        ("ppo", &config),
        ("ppo", &["--configs", "configs"]),
        ("publish", &config),
        ("baseline", &config),
        ("evaluate", &config),
    ];
    for (command, rest) in commands {
        for device in ["cuda", "cuda:3"] {
            let output = trainer(folder.path(), &[&[command], rest, &["--device", device]].concat());
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command}: {error}");
            assert_eq!(
                error, "tureen-trainer: this build has no CUDA: it was made without the feature `cuda`\n",
                "{command}"
            );
            assert!(output.stdout.is_empty());
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["configs"]);
}

#[test]
fn the_cpu_is_what_computes_unless_something_else_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for device in [&[][..], &["--device", "cpu"]] {
        let output = trainer(folder.path(), &[&["ppo", "--config", "nowhere.toml"], device].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("nowhere.toml"), "{error}");
    }
}

#[test]
fn names_of_no_device_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["gpu", "auto", "CPU", "cuda:", "cuda:-1", "cuda:x", ""] {
        let output = trainer(folder.path(), &["ppo", "--config", "nowhere.toml", "--device", device]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("cpu, cuda or cuda:N"), "{device:?}: {error}");
    }
}
