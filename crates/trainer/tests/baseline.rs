//! What the soups are compared with, trained from the command line.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};
use tureen_trainer::baseline::BaselineConfig;
use tureen_trainer::metrics;

fn prepare(folder: &Path) {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    let prompts = "What is a cat?\nWhy do we eat?\nTell me of the sea.\nWho are you?\n";
    std::fs::write(folder.join("prompts.txt"), prompts).unwrap();
}

/// A PPO run of `steps` steps under the table `table`, with `more` tables.
fn run(folder: &Path, id: &str, table: &str, steps: usize, more: &str) -> String {
    format!(
        "[{table}]\n\
         policy = {{ id = '{id}', code = 'B', dimension = 'baseline', instruction = 'i', license = 'Apache-2.0' }}\n\
         model = {{ base = '{base}' }}\n\
         prompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}\n\
         lora = {{ r = 4, lora_alpha = 8.0, a_seed = 3 }}\n\
         generation = {{ output_min_length = 5, output_max_length = 8 }}\n\
         ppo = {{ steps = {steps}, batch_size = 4, mini_batch_size = 2, learning_rate = 0.01 }}\n\
         run = {{ out = '{out}', save_freq = 1 }}\n{more}",
        base = folder.join("base").display(),
        prompts = folder.join("prompts.txt").display(),
        out = folder.join(id).display(),
    )
}

fn baseline(folder: &Path, config: &str, arguments: &[&str]) -> (bool, String) {
    let path = folder.join("baseline.toml");
    std::fs::write(&path, format!("pool = '{}'\n{config}", folder.join("pool").display())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
    let output = command.args(["baseline", "--config"]).arg(path).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[track_caller]
fn trained(folder: &Path, config: &str, arguments: &[&str]) -> String {
    let (succeeded, text) = baseline(folder, config, arguments);
    assert!(succeeded, "{text}");
    text
}

#[track_caller]
fn pool_has(folder: &Path, policy: &str) {
    let pool = Pool::open(&folder.join("pool"), &PoolOptions::default()).unwrap();
    let only = Preference::from_pairs([(policy.to_owned(), 1.0)]).unwrap();
    assert!(pool.soup(&only, &MergeOptions::default()).is_ok());
}

/// Three preferences of two dimensions. An answer that was cut off, as nearly all here are, scores -1, -3 and -5 under them.
fn preferences(words: &str) -> String {
    let preference = |id: &str, dimension: &str, weight: f64| {
        format!(
            "[[method.prompted_morl.preferences]]\nid = '{id}'\ndimension = '{dimension}'\ninstruction = '{words} {id}.'\n\
             reward = {{ parts = [{{ kind = 'no_eos', weight = {weight:.1} }}] }}\n"
        )
    };
    [preference("a", "first", 1.0), preference("b", "first", 3.0), preference("c", "second", 5.0)].concat()
}

fn samples(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("morl/samples.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn rlhf_is_one_policy_of_a_general_reward() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let reward = "[method.rlhf.reward]\nparts = [{ kind = 'length', weight = 1.0, tokens = 5.0 }]\n";
    trained(folder.path(), &run(folder.path(), "rlhf", "method.rlhf", 2, reward), &[]);
    pool_has(folder.path(), "rlhf");
    // A second baseline goes into the same pool.
    let reward = reward.replace("parts", "rule = 'friendly'\nparts");
    trained(folder.path(), &run(folder.path(), "general", "method.rlhf", 1, &reward), &[]);
    pool_has(folder.path(), "rlhf");
    pool_has(folder.path(), "general");
    // An evaluation has to know who may not judge it.
    let adapter = std::fs::read(folder.path().join("pool/general/adapter_model.safetensors")).unwrap();
    let told = br#""tureen.trained_by":"rule friendly""#;
    assert!(adapter.windows(told.len()).any(|bytes| bytes == told));
}

#[test]
fn prompted_morl_rewards_the_mean_of_what_a_prompt_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let config = run(folder.path(), "morl", "method.prompted_morl.run", 4, &preferences("Be"));
    trained(folder.path(), &config, &[]);
    pool_has(folder.path(), "morl");
    let first = samples(folder.path());
    let mut scores: Vec<f64> = first.iter().map(|sample| sample["score"].as_f64().unwrap()).collect();
    scores.retain(|score| *score != 0.0);
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    // One of -1 and -3, and always -5: both means come up, and nothing else.
    assert_eq!(scores, [-4.0, -3.0]);

    // The instructions are read: with other words the same draws give other answers. The log shows the plain prompt.
    let other = tempfile::tempdir().unwrap();
    prepare(other.path());
    trained(other.path(), &run(other.path(), "morl", "method.prompted_morl.run", 1, &preferences("Avoid being")), &[]);
    let second = samples(other.path());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first["prompt"], second["prompt"]);
        assert_ne!(first["response"], second["response"]);
    }
}

#[test]
fn prompted_morl_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let whole = run(folder.path(), "whole", "method.prompted_morl.run", 4, &preferences("Be"));
    trained(folder.path(), &whole, &[]);
    let parts = |steps| run(folder.path(), "parts", "method.prompted_morl.run", steps, &preferences("Be"));
    trained(folder.path(), &parts(2), &[]);
    trained(folder.path(), &parts(4), &["--resume"]);
    let logged = |id: &str| {
        let steps = metrics::read(&folder.path().join(id).join("metrics.jsonl")).unwrap();
        steps.into_iter().map(|m| (m.step, m.kl.to_bits(), m.scores.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!(logged("whole").len(), 4);
    assert_eq!(logged("whole"), logged("parts"));
    // Other preferences are another run.
    let (succeeded, text) = baseline(folder.path(), &parts(5).replace("weight = 3.0", "weight = 2.0"), &["--resume"]);
    assert!(!succeeded && text.contains("another configuration"), "{text}");
}

#[test]
fn multitask_sft_learns_the_chosen_answers() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for (name, chosen) in [("plain", "yes yes yes"), ("long", "no, no, no, no")] {
        let line = |i: usize| serde_json::json!({"prompt": format!("ask {i}"), "chosen": chosen, "rejected": "?"});
        let text: String = (0..20).map(|i| format!("{}\n", line(i))).collect();
        std::fs::write(folder.path().join(format!("{name}.jsonl")), text).unwrap();
    }
    let config = format!(
        "[method.multitask_sft]\nout = '{out}'\nmodel = {{ base = '{base}' }}\n\
         policy = {{ id = 'sft', code = 'B', dimension = 'baseline', instruction = 'i', license = 'Apache-2.0' }}\n\
         training = {{ learning_rate = 0.02, num_train_epochs = 4 }}\n\
         tasks = [{{ pairs = '{plain}', instruction = 'Agree.' }}, {{ pairs = '{long}', instruction = 'Refuse.' }}]\n",
        out = folder.path().join("sft").display(),
        base = folder.path().join("base").display(),
        plain = folder.path().join("plain.jsonl").display(),
        long = folder.path().join("long.jsonl").display(),
    );
    let text = trained(folder.path(), &config, &[]);
    pool_has(folder.path(), "sft");
    let loss = |mark: &str| {
        let (before, _) = text.split_once(mark).unwrap();
        before.split_whitespace().last().unwrap().parse::<f64>().unwrap()
    };
    assert!(text.contains("40 updates"), "{text}");
    let (first, last) = (loss(" in the first tenth"), loss(" in the last"));
    assert!(last < 0.5 * first, "{text}");
}

#[test]
fn the_shipped_configurations_are_read() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/baselines");
    let read = std::fs::read_dir(configs).unwrap().map(|entry| BaselineConfig::read(&entry.unwrap().path()).unwrap());
    assert_eq!(read.count(), 3);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let rlhf = |more: &str| run(folder.path(), "rlhf", "method.rlhf", 1, more);
    let morl = run(folder.path(), "morl", "method.prompted_morl.run", 1, "");
    let reward = "[method.prompted_morl.run.reward]\nrule = 'friendly'\n";
    for (config, words) in [
        (rlhf(""), "reward needs a rule or parts"),
        (format!("[method.prompted_morl]\npreferences = []\n{morl}"), "at least one"),
        (format!("{morl}{reward}{}", preferences("Be")), "the preferences have theirs"),
        (
            "[method.multitask_sft]\nout = 'o'\nmodel = { base = 'b' }\ntasks = [{ pairs = 'p', instruction = 'i' }]\n\
          policy = { id = 'a', code = 'B', dimension = 'd', instruction = 'i', license = 'MIT' }\n\
          training = { learning_rate = nan }\n"
                .to_owned(),
            "training.learning_rate",
        ),
        ("[method.dpo]\nbeta = 0.1\n".to_owned(), "dpo"),
    ] {
        let (succeeded, text) = baseline(folder.path(), &config, &[]);
        assert!(!succeeded && text.contains("baseline.toml") && text.contains(words), "{text}");
    }
}
