//! The jobs of a cluster: which index trains which policy, through the scripts that are deployed.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn deployed(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy/training").join(name)).unwrap()
}

/// A folder of configurations whose bases do not exist: a run says which one it missed.
fn configs(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let text = format!(
            "policy = {{ id = \"{name}\", code = \"P\", dimension = \"d\", instruction = \"i\", license = \"MIT\" }}\n\
             model = {{ base = \"/nowhere/{name}\" }}\nreward = {{ rule = \"friendly\" }}\nrun = {{ out = \"out\" }}\n"
        );
        std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
    }
    std::fs::write(folder.path().join("README.md"), "no configuration").unwrap();
    folder
}

#[test]
fn an_index_picks_the_configuration_by_name() {
    let configs = configs(&["friendly", "concise", "elementary"]);
    let run = |index: usize| {
        let output = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"))
            .args(["ppo", "--resume", &format!("--index={index}"), "--configs"])
            .arg(configs.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    for (index, name) in ["concise", "elementary", "friendly"].iter().enumerate() {
        let error = run(index);
        assert!(error.contains(&format!("/nowhere/{name}")), "{index}: {error}");
    }
    assert!(run(3).contains("holds 3 configurations, none of index 3"));
}

#[test]
fn the_slurm_script_calls_the_trainer_with_its_task() {
    let configs = configs(&["friendly", "elementary"]);
    for (task, name) in ["elementary", "friendly"].iter().enumerate() {
        let output = Command::new("bash")
            .arg(root().join("deploy/training/slurm.sh"))
            .env("TUREEN_TRAINER", env!("CARGO_BIN_EXE_tureen-trainer"))
            .env("CONFIGS", configs.path())
            .env("SLURM_ARRAY_TASK_ID", task.to_string())
            .env("SLURM_CPUS_PER_TASK", "1")
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(&format!("/nowhere/{name}")), "{task}: {error}");
    }
}

#[test]
fn both_deployments_have_a_job_for_every_configuration() {
    let configs = std::fs::read_dir(root().join("crates/trainer/configs")).unwrap();
    let is_config = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let configs = configs.map(|entry| entry.unwrap().path()).filter(is_config).count();
    let kubernetes = deployed("kubernetes.yaml");
    for line in
        [format!("completions: {configs}"), "--index=$(JOB_COMPLETION_INDEX)".into(), "completionMode: Indexed".into()]
    {
        assert!(kubernetes.contains(&line), "kubernetes.yaml lacks {line}");
    }
    let array = format!("#SBATCH --array=0-{}\n", configs - 1);
    assert!(deployed("slurm.sh").contains(&array), "slurm.sh lacks {array}");
}
