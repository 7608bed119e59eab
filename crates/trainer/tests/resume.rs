//! A run that was stopped, or killed, ends as if it had not been.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};
use tureen_trainer::Session;
use tureen_trainer::config::Config;
use tureen_trainer::metrics;
use tureen_trainer::model::{Base, Checkpointing};
use tureen_trainer::reward::{Answer, Reward, Scored, Scoring};

/// Rewards vowels, which random text has too: the rules would give it nothing, and nothing would move.
struct Vowels;

impl Vowels {
    fn score(answer: Answer<'_>) -> Scored {
        let score = answer.text.chars().filter(|c| "aeiou".contains(*c)).count() as f64 + answer.base_nll;
        Scored { score, measure: score, gate: 1.0 }
    }
}

impl Reward for Vowels {
    fn score_all(&self, _base: &Base, rows: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        Ok(rows.iter().map(|row| Self::score(row.answer)).collect())
    }
}

fn write_config(folder: &Path) -> std::path::PathBuf {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    std::fs::write(folder.join("prompts.txt"), "What is a cat?\nWhy do we eat?\nTell me of the sea.\nWho are you?\n")
        .unwrap();
    let path = folder.join("tiny.toml");
    let text = format!(
        r#"
        policy = {{ id = "tiny", code = "P0", dimension = "size", instruction = "Be tiny.", license = "Apache-2.0" }}
        model = {{ base = '{base}' }}
        prompts = {{ train = '{prompts}', heldout = '{prompts}', max_prompt_tokens = 64 }}
        lora = {{ r = 4, lora_alpha = 8.0, a_seed = 3 }}
        generation = {{ output_min_length = 5, output_max_length = 8 }}
        reward = {{ rule = "elementary" }}
        ppo = {{ steps = 4, batch_size = 4, mini_batch_size = 2, learning_rate = 0.01 }}
        run = {{ out = '{out}', save_freq = 1 }}
        "#,
        base = base.display(),
        prompts = folder.join("prompts.txt").display(),
        out = folder.join("run").display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn session(config: &Path, out: &Path, resume: bool) -> Session {
    let mut config = Config::read(config).unwrap();
    config.run.out = out.to_owned();
    Session::with_reward(config, resume, Box::new(Vowels)).unwrap()
}

/// All variables, bit for bit.
fn bits(session: &Session) -> Vec<(String, Vec<u32>)> {
    let values = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let variables = session.adapter().variables().into_iter();
    variables.map(|(name, var)| (name, values(&var).into_iter().map(f32::to_bits).collect())).collect()
}

#[test]
fn a_stopped_run_continues_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let mut uninterrupted = session(&config, &whole, false);
    let start = bits(&uninterrupted);
    for _ in 0..4 {
        uninterrupted.step().unwrap();
    }
    let mut first = session(&config, &stopped, false);
    first.step().unwrap();
    first.step().unwrap();
    first.save().unwrap();
    // This step is lost: it was not saved.
    first.step().unwrap();
    drop(first);
    let mut second = session(&config, &stopped, true);
    assert_eq!(second.steps_done(), 2);
    second.step().unwrap();
    second.step().unwrap();

    assert_ne!(bits(&uninterrupted), start, "nothing was learned, so nothing is compared");
    assert_eq!(bits(&uninterrupted), bits(&second));
    let logged = |out: &Path| {
        let lines = metrics::read(&out.join("metrics.jsonl")).unwrap();
        lines.into_iter().map(|m| (m.step, m.kl.to_bits(), m.scores.to_bits(), m.kl_coef.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!(logged(&whole), logged(&stopped));
}

#[test]
fn gradient_checkpointing_may_be_switched_on_within_a_run_and_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let open = |out: &str, on: bool, resume: bool| {
        let mut config = Config::read(&path).unwrap();
        config.run.out = folder.path().join(out);
        config.ppo.gradient_checkpointing = Some(on);
        Session::with_reward(config, resume, Box::new(Vowels)).unwrap()
    };
    let twice = |session: &mut Session| [session.step().unwrap().grad_norm, session.step().unwrap().grad_norm];
    let mut off = open("off", false, false);
    let first = twice(&mut off);
    let mut switched = open("switched", false, false);
    assert_eq!(twice(&mut switched), first);
    switched.save().unwrap();
    drop(switched);
    let mut switched = open("switched", true, true);
    let modes = (off.checkpointing(), switched.checkpointing());
    assert_eq!((switched.steps_done(), modes), (2, (Checkpointing::Off, Checkpointing::On)));
    assert_eq!(twice(&mut switched), twice(&mut off));
    assert_eq!(bits(&switched), bits(&off));
}

#[test]
fn logs_that_were_cut_off_within_a_character_are_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let out = folder.path().join("run");
    let mut first = session(&config, &out, false);
    first.step().unwrap();
    first.save().unwrap();
    drop(first);
    let logs = ["metrics.jsonl", "samples.jsonl"].map(|name| out.join(name));
    let whole = logs.each_ref().map(|log| std::fs::read(log).unwrap());
    for (log, whole) in logs.iter().zip(&whole) {
        std::fs::write(log, [whole.as_slice(), b"{\"step\":2,\"response\":\"gr\xc3"].concat()).unwrap();
    }
    assert_eq!(session(&config, &out, true).step().unwrap().step, 2);
    for (log, whole) in logs.iter().zip(&whole) {
        let text = std::fs::read_to_string(log).unwrap();
        let more = text.strip_prefix(std::str::from_utf8(whole).unwrap()).unwrap();
        let steps = more.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].clone());
        assert!(!more.is_empty() && steps.into_iter().all(|step| step == 2), "{more}");
    }
}

#[test]
fn the_first_ratio_of_every_step_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let mut session = session(&config, &folder.path().join("run"), false);
    for _ in 0..3 {
        let metrics = session.step().unwrap();
        assert!(metrics.first_ratio_deviation < 1e-4, "{}", metrics.first_ratio_deviation);
        // The engine sampled from the policy as it is: another one's log-probabilities would be far off.
        assert!(metrics.rollout_deviation < 1e-4, "{}", metrics.rollout_deviation);
    }
}

#[test]
fn another_configuration_may_not_continue_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let mut session = session(&path, &folder.path().join("run"), false);
    session.step().unwrap();
    session.save().unwrap();
    let mut config = Config::read(&path).unwrap();
    config.ppo.learning_rate = 0.5;
    let error = Session::open(config, true).err().unwrap();
    assert!(error.to_string().contains("another configuration"), "{error}");
}

#[test]
fn a_run_takes_over_from_another_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let mut first = session(&path, &folder.path().join("run"), false);
    for _ in 0..3 {
        first.step().unwrap();
        first.save().unwrap();
    }
    let mut config = Config::read(&path).unwrap();
    config.ppo.learning_rate = 0.001;
    config.run.out = folder.path().join("second");
    config.run.start_from = Some(folder.path().join("run/checkpoint-00002.safetensors"));
    let mut second = Session::with_reward(config, false, Box::new(Vowels)).unwrap();
    assert_eq!(second.steps_done(), 2);
    second.step().unwrap();
    let steps = |out: &str| {
        let lines = metrics::read(&folder.path().join(out).join("metrics.jsonl")).unwrap();
        lines.into_iter().map(|m| (m.step, m.scores.to_bits())).collect::<Vec<_>>()
    };
    // The third step samples from the same policy with the same draws; what it learns from them differs.
    assert_eq!(steps("second"), steps("run"));
    assert_ne!(bits(&first), bits(&second));
}

#[test]
fn a_killed_run_resumes_and_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let trainer = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
        command.env("NO_COLOR", "1").env("RUST_LOG", "info");
        command
    };
    let mut running =
        trainer().args(["ppo", "--steps", "100000", "--config"]).arg(&config).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines();
    assert_eq!(lines.map_while(Result::ok).filter(|line| line.contains("step done")).take(3).count(), 3);
    running.kill().unwrap();
    running.wait().unwrap();

    let out = folder.path().join("run");
    let done = metrics::read(&out.join("metrics.jsonl")).unwrap().len() as u64;
    let steps = (done + 2).to_string();
    let status = trainer().args(["ppo", "--resume", "--steps", &steps, "--config"]).arg(&config).status().unwrap();
    assert!(status.success());
    let logged: Vec<u64> = metrics::read(&out.join("metrics.jsonl")).unwrap().iter().map(|m| m.step).collect();
    assert_eq!(logged, (1..=done + 2).collect::<Vec<_>>());
    assert!(std::fs::read_to_string(out.join("reward.svg")).unwrap().contains("</svg>"));

    let pool_dir = folder.path().join("pool");
    let status = trainer().args(["publish", "--config"]).arg(&config).arg("--pool").arg(&pool_dir).status().unwrap();
    assert!(status.success());
    let pool = Pool::open(&pool_dir, &PoolOptions::default()).unwrap();
    let preference: Preference = "tiny=1".parse().unwrap();
    assert!(pool.soup(&preference, &MergeOptions::default()).is_ok());
    for file in ["REPORT.md", "README.md", "reward.svg", "kl.svg"] {
        assert!(pool_dir.join("tiny").join(file).exists(), "{file}");
    }
}

/// Scores like [`Vowels`] for some steps, then NaN.
struct Breaks(AtomicUsize);

impl Reward for Breaks {
    fn score_all(&self, base: &Base, rows: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        let steps = self.0.load(Ordering::Relaxed);
        self.0.store(steps.saturating_sub(1), Ordering::Relaxed);
        let mut scored = Vowels.score_all(base, rows)?;
        if steps == 0 {
            scored[0].score = f64::NAN;
        }
        Ok(scored)
    }
}

#[test]
fn a_loss_that_is_no_number_stops_with_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_config(folder.path());
    let out = folder.path().join("run");
    let mut config = Config::read(&path).unwrap();
    config.run.out = out.clone();
    let mut run = Session::with_reward(config, false, Box::new(Breaks(2.into()))).unwrap();
    for _ in 0..2 {
        run.step().unwrap();
        run.save().unwrap();
    }
    let good = bits(&run);
    let error = run.step().unwrap_err().to_string();
    assert!(error.contains("step 3") && error.contains("not finite"), "{error}");
    assert_eq!(run.steps_done(), 2);
    let mut resumed = session(&path, &out, true);
    assert_eq!((resumed.steps_done(), bits(&resumed)), (2, good));
    assert_eq!(resumed.step().unwrap().step, 3);
}

#[test]
fn a_full_disk_loses_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let out = folder.path().join("run");
    let mut first = session(&config, &out, false);
    first.step().unwrap();
    first.save().unwrap();
    let (good, checkpoint) = (bits(&first), std::fs::read(out.join("checkpoint.safetensors")).unwrap());
    // A limit on the size of files that the log fits under and a checkpoint does not.
    let limit = checkpoint.len() / 1024 / 2;
    assert!(limit > 8, "a checkpoint of {} bytes is too small for this test", checkpoint.len());
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_tureen-trainer"), "ppo", "--resume", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("checkpoint"), "{error}");
    assert_eq!(std::fs::read(out.join("checkpoint.safetensors")).unwrap(), checkpoint);
    let left = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.ends_with(".partial")).collect();
    assert!(left.is_empty(), "{left:?}");
    // With room again the run goes on from there.
    let resumed = session(&config, &out, true);
    assert_eq!((resumed.steps_done(), bits(&resumed)), (1, good));
}
