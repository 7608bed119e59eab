//! Reward models: what they learn, how sure that is, and whose they are.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tureen_engine::Checkpoint;
use tureen_trainer::commands::RewardReport;
use tureen_trainer::metrics;
use tureen_trainer::model::{Base, load_base};
use tureen_trainer::reward::{Answer, GateOptions, Part, Reward, RewardSum, Rule, RuleReward, Scoring};
use tureen_trainer::reward_model::{Accuracy, RewardModel, Shape, TrainingOptions, accuracy, sequence, train};

fn write_base(folder: &Path, seed: u64) -> PathBuf {
    let path = folder.join(format!("base-{seed}"));
    std::fs::create_dir_all(&path).unwrap();
    picollama::Base { seed, ..picollama::Base::llama() }.write(&path);
    path
}

fn open(path: &Path) -> (Checkpoint, Base) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let base = load_base(&checkpoint, 100).unwrap();
    (checkpoint, base)
}

const SHAPE: Shape = Shape { r: 4, lora_alpha: 16.0, a_seed: 3 };

/// Pairs whose chosen answer is of low tokens and the rejected one of high ones, from `first` on.
fn pairs(first: u32, count: u32) -> Vec<[Vec<u32>; 2]> {
    let row =
        |start: u32, i: u32| sequence(&[2], &[1, 5, 6], &[start + i * 7 % 40, start + i * 11 % 40, start + i % 40]);
    (first..first + count).map(|i| [row(10, i), row(150, i)]).collect()
}

#[test]
fn a_model_learns_pairs_and_agrees_with_others_of_their_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (_, base) = open(&write_base(folder.path(), 0));
    let model = RewardModel::new(&base, SHAPE).unwrap();
    let heldout = pairs(100, 20);
    assert_eq!(accuracy(&model, &base, &heldout).unwrap().right, 0, "equal rewards are not right");
    let options = TrainingOptions { learning_rate: 0.01, num_train_epochs: 4, ..TrainingOptions::default() };
    let mut losses = Vec::new();
    train(&model, &base, &pairs(0, 32), &options, |done, all, loss| {
        assert!(done <= all && all == 32);
        losses.push(loss);
    })
    .unwrap();
    // Rewards that are all 0 lose ln 2.
    assert!((losses[0] - 2f64.ln()).abs() < 1e-6, "{}", losses[0]);
    assert!(losses.last().unwrap() < &0.3, "{losses:?}");
    let accuracy = accuracy(&model, &base, &heldout).unwrap();
    assert!(accuracy.right >= 18, "{accuracy:?}");
}

#[test]
fn gradient_checkpointing_changes_no_bit_of_what_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (_, base) = open(&write_base(folder.path(), 0));
    let learned = |checkpointing: bool| {
        let model = RewardModel::new(&base, SHAPE).unwrap();
        let gradient_checkpointing = Some(checkpointing);
        let options = TrainingOptions { learning_rate: 0.01, gradient_checkpointing, ..TrainingOptions::default() };
        let mut losses = Vec::new();
        train(&model, &base, &pairs(0, 16), &options, |_, _, loss| losses.push(loss)).unwrap();
        (losses, model.rewards(&base, &pairs(16, 4).concat()).unwrap())
    };
    let off = learned(false);
    assert!(off.0[3] < off.0[0], "{off:?}");
    assert_eq!(learned(true), off);
}

#[test]
fn normalised_rewards_of_the_bases_answers_have_mean_0_and_deviation_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_base(folder.path(), 0);
    let (checkpoint, base) = open(&path);
    let mut model = RewardModel::new(&base, SHAPE).unwrap();
    let rows: Vec<Vec<u32>> = pairs(0, 10).into_iter().flatten().collect();
    let options = TrainingOptions { learning_rate: 0.01, ..TrainingOptions::default() };
    train(&model, &base, &pairs(0, 8), &options, |_, _, _| {}).unwrap();
    let raw = model.rewards(&base, &rows).unwrap();
    model.normalise(&base, &rows).unwrap();
    let rewards = model.rewards(&base, &rows).unwrap();
    let mean = rewards.iter().sum::<f64>() / 20.0;
    let variance = rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / 20.0;
    assert!(mean.abs() < 1e-9 && (variance - 1.0).abs() < 1e-9, "{mean} {variance}");
    // A straight line keeps the order.
    let order = |rewards: &[f64]| rewards.windows(2).map(|two| two[0] < two[1]).collect::<Vec<_>>();
    assert_eq!(order(&raw), order(&rewards));

    let file = folder.path().join("reward_model.safetensors");
    model.write(&file, &checkpoint).unwrap();
    let again = RewardModel::read(&file, &base, &checkpoint).unwrap();
    assert_eq!(again.rewards(&base, &rows).unwrap(), rewards);
}

#[test]
fn a_reward_model_of_another_base_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, base) = open(&write_base(folder.path(), 0));
    let file = folder.path().join("reward_model.safetensors");
    RewardModel::new(&base, SHAPE).unwrap().write(&file, &checkpoint).unwrap();
    let (other_checkpoint, other) = open(&write_base(folder.path(), 1));
    let error = RewardModel::read(&file, &other, &other_checkpoint).err().unwrap().to_string();
    assert!(error.contains(checkpoint.sha256()) && error.contains(other_checkpoint.sha256()), "{error}");
    let bytes = std::fs::read(&file).unwrap();
    for broken in [&bytes[..bytes.len() / 2], b"", &bytes[..7]] {
        std::fs::write(&file, broken).unwrap();
        assert!(RewardModel::read(&file, &base, &checkpoint).is_err());
    }
}

#[test]
fn the_interval_is_wilsons() {
    // Worked out by hand: (.8 + .19207) / 1.38415 -/+ 1.95996 sqrt(.016 + .0096) / 1.38415.
    let of = Accuracy::of(8, 10);
    assert!((of.low - 0.4902).abs() < 1e-4 && (of.high - 0.9433).abs() < 1e-4, "{of:?}");
    assert_eq!((Accuracy::of(0, 0).low, Accuracy::of(0, 0).high), (0.0, 1.0));
    assert_eq!(Accuracy::of(5, 5).high, 1.0);
}

#[test]
fn the_parts_of_a_reward_are_added_with_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (_, base) = open(&write_base(folder.path(), 0));
    let text = "Plants make food from light. The leaves take in sun and air. The roots drink water.";
    let answer = Answer { prompt: "How do plants make food?", text, ended: false, base_nll: 2.0 };
    let row = Scoring { answer, prompt: &[1, 5], response: &[9, 10, 11], active: &[] };
    let rule = RuleReward { rule: Rule::Elementary, power: 1.0, gate: GateOptions::default() };
    let alone = rule.score(answer);
    let score = |parts: Vec<(f64, Part)>| RewardSum { parts, ends: vec![2] }.score_all(&base, &[row]).unwrap()[0];
    let near = |ours: f64, expected: f64| assert!((ours - expected).abs() < 1e-9, "{ours} instead of {expected}");
    near(score(vec![(2.0, Part::Rule(rule.clone()))]).score, 2.0 * alone.score);
    near(score(vec![(0.5, Part::Length(4.0))]).score, 0.5 * 0.75);
    near(score(vec![(1.0, Part::Length(1.0))]).score, 0.0);
    near(score(vec![(3.0, Part::NoEos)]).score, -3.0);
    near(score(vec![(2.0, Part::Gate(GateOptions::default()))]).score, 2.0 * alone.gate);
    let model = RewardModel::new(&base, SHAPE).unwrap();
    train(&model, &base, &pairs(0, 8), &TrainingOptions::default(), |_, _, _| {}).unwrap();
    let reward = model.rewards(&base, &[vec![1, 5, 9, 10, 11, 2]]).unwrap()[0];
    assert!(reward.abs() > 1e-9);
    let sum = score(vec![(1.0, Part::Model(Box::new(model))), (-1.0, Part::Rule(rule)), (1.0, Part::NoEos)]);
    near(sum.score, reward - alone.score - 1.0);
    assert_eq!((sum.measure, sum.gate), (alone.measure, alone.gate));
}

#[test]
fn the_commands_train_a_model_and_a_policy_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = write_base(folder.path(), 0);
    let at = |name: &str| folder.path().join(name);
    let line = |i: usize| {
        let (question, answer) = (format!("What is {i}?"), format!("It is {i}."));
        format!("{}\n", serde_json::json!({"prompt": question, "chosen": answer, "rejected": format!("zzzz {i} zzzz")}))
    };
    std::fs::write(at("pairs.jsonl"), (0..20).map(line).collect::<String>()).unwrap();
    std::fs::write(at("prompts.txt"), "What is a cat?\nWho are you?\n").unwrap();
    let config = format!(
        "model = {{ base = '{base}' }}\npairs = {{ file = '{pairs}' }}\nlora = {{ r = 4 }}\nout = '{out}'\n\
         training = {{ learning_rate = 0.01, num_train_epochs = 3, gradient_checkpointing = true }}\nnormalise = {{ answers = 6, max_new_tokens = 8 }}\n",
        base = base.display(),
        pairs = at("pairs.jsonl").display(),
        out = at("model").display(),
    );
    let attempt = |command: &str, config: &str| {
        let mut trainer = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
        let output = trainer.args([command, "--config"]).arg(at(config)).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let trainer = |command: &str, config: &str| {
        let (succeeded, text) = attempt(command, config);
        assert!(succeeded, "{text}");
        text
    };
    // A rate that makes the loss no number: nothing is written.
    let wild = config.replace("learning_rate = 0.01", "learning_rate = 1e300");
    for (config, words) in [(wild, "not finite"), (config.replace("0.01", "nan"), "training.learning_rate")] {
        std::fs::write(at("reward.toml"), config).unwrap();
        let (succeeded, text) = attempt("reward", "reward.toml");
        assert!(!succeeded && text.contains(words) && !at("model").exists(), "{text}");
    }
    std::fs::write(at("reward.toml"), config).unwrap();
    let text = trainer("reward", "reward.toml");
    assert!(text.contains("95 % interval") && text.contains("gradient checkpointing: on, as configured"), "{text}");
    let report = std::fs::read_to_string(at("model/report.json")).unwrap();
    let report: RewardReport = serde_json::from_str(&report).unwrap();
    assert_eq!((report.trained, report.heldout.pairs, report.left_out), (16, 4, 0));
    assert_eq!(report.heldout.right, 4);

    let config = format!(
        "policy = {{ id = 'tiny', code = 'P0', dimension = 'size', instruction = 'i', license = 'MIT' }}\n\
         model = {{ base = '{base}' }}\nprompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}\n\
         generation = {{ output_min_length = 5, output_max_length = 8 }}\nrun = {{ out = '{out}' }}\n\
         ppo = {{ steps = 2, batch_size = 4, mini_batch_size = 2 }}\n\
         [[reward.parts]]\nkind = 'model'\nweight = 1.0\npath = '{model}'\n\
         [[reward.parts]]\nkind = 'no_eos'\nweight = 0.1\n",
        base = base.display(),
        prompts = at("prompts.txt").display(),
        out = at("run").display(),
        model = at("model/reward_model.safetensors").display(),
    );
    std::fs::write(at("ppo.toml"), &config).unwrap();
    let text = trainer("ppo", "ppo.toml");
    assert!(text.contains("gradient checkpointing: on for minibatches of more than "), "{text}");
    let steps = metrics::read(&at("run/metrics.jsonl")).unwrap();
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| step.scores.is_finite() && step.scores_std > 0.0));

    // The model labels answers that it has not seen, in either order.
    let line = |i: usize| {
        let mut answers = [format!("It is {i}."), format!("zzzz {i} zzzz")];
        answers.rotate_left(i % 2);
        format!("{}\n", serde_json::json!({"prompt": format!("What is {i}?"), "answers": answers}))
    };
    std::fs::write(at("answers.jsonl"), (30..36).map(line).collect::<String>()).unwrap();
    let labels = |base: &Path| {
        format!(
            "answers = '{}'\nout = '{}'\n[annotator.model]\nbase = '{}'\npath = '{}'\n",
            at("answers.jsonl").display(),
            at("labelled.jsonl").display(),
            base.display(),
            at("model/reward_model.safetensors").display()
        )
    };
    std::fs::write(at("annotate.toml"), labels(&base)).unwrap();
    let text = trainer("annotate", "annotate.toml");
    assert!(text.contains("6 pairs, 0 ties"), "{text}");
    let labelled = tureen_trainer::pairs::read(&at("labelled.jsonl")).unwrap();
    assert!(labelled.iter().all(|pair| pair.chosen.starts_with("It is")), "{labelled:?}");

    // Another base has no use for it, whichever command asks.
    let other = write_base(folder.path(), 1);
    std::fs::write(at("annotate.toml"), labels(&other)).unwrap();
    let run = at("run").display().to_string();
    let config = config.replace(&base.display().to_string(), &other.display().to_string());
    std::fs::write(at("ppo.toml"), config.replace(&run, &format!("{run}-other"))).unwrap();
    for (command, config) in [("annotate", "annotate.toml"), ("ppo", "ppo.toml")] {
        let (succeeded, text) = attempt(command, config);
        assert!(!succeeded && text.contains("a reward model of base-0") && text.contains("base-1"), "{text}");
    }
}
