//! Whole runs at both places.

use std::path::Path;
use std::sync::Arc;

use tureen_engine::DeviceChoice::{self, Cpu, Twin};
use tureen_engine::{Checkpoint, Precision};
use tureen_trainer::Session;
use tureen_trainer::config::Config;
use tureen_trainer::generator::{Computing, Generator};
use tureen_trainer::heldout::{HeldoutOptions, evaluate};
use tureen_trainer::model::{Base, load_base};
use tureen_trainer::prompts::{Split, prepare, read};
use tureen_trainer::reward::{GateOptions, Reward, Scored, Scoring};

use crate::support::close;

/// Rewards low tokens.
struct Low;

impl Reward for Low {
    fn score_all(&self, _: &Base, rows: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        let score = |row: &Scoring<'_>| -row.response.iter().copied().map(f64::from).sum::<f64>();
        Ok(rows.iter().map(score).map(|score| Scored { score, measure: score, gate: 1.0 }).collect())
    }
}

/// A tiny base and a configuration over it.
fn prepared(folder: &Path) -> Config {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    std::fs::write(folder.join("prompts.txt"), "What is a cat?\nWhy do we eat?\nTell me of the sea.\nWho are you?\n")
        .unwrap();
    let text = format!(
        "policy = {{ id = 'tiny', code = 'P0', dimension = 'd', instruction = 'i', license = 'MIT' }}\n\
         model = {{ base = '{base}' }}\nprompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}\n\
         lora = {{ r = 4, lora_alpha = 8.0, a_seed = 3 }}\n\
         generation = {{ output_min_length = 5, output_max_length = 8 }}\nreward = {{ rule = 'friendly' }}\n\
         ppo = {{ steps = 4, batch_size = 4, mini_batch_size = 2, learning_rate = 0.003 }}\nrun = {{ out = 'run' }}\n",
        base = base.display(),
        prompts = folder.join("prompts.txt").display(),
    );
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    Config::read(&folder.join("tiny.toml")).unwrap()
}

fn session(config: &Config, device: DeviceChoice, out: &Path, resume: bool) -> Session {
    let mut config = config.clone();
    config.model.device = device;
    config.run.out = out.to_owned();
    Session::with_reward(config, resume, Box::new(Low)).unwrap()
}

fn variables(session: &Session) -> Vec<f32> {
    let values = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    session.adapter().variables().iter().flat_map(|(_, var)| values(var)).collect()
}

#[test]
fn steps_of_ppo_are_those_of_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepared(folder.path());
    let [mut cpu, mut twin] = [Cpu, Twin].map(|device| {
        let out = folder.path().join(format!("{device:?}"));
        session(&config, device, &out, false)
    });
    let start = variables(&cpu);
    assert_eq!(variables(&twin), start);
    for _ in 0..2 {
        let (cpu, twin) = (cpu.step().unwrap(), twin.step().unwrap());
        // The same tokens, drawn by two engines.
        assert_eq!((twin.scores, twin.response_length), (cpu.scores, cpu.response_length));
        assert!(cpu.grad_norm > 1e-3 && twin.first_ratio_deviation < 1e-4 && twin.rollout_deviation < 1e-4);
        let pairs = [
            (twin.entropy, cpu.entropy),
            (twin.kl, cpu.kl),
            (twin.base_nll, cpu.base_nll),
            (twin.policy_loss, cpu.policy_loss),
            (twin.value_loss, cpu.value_loss),
            (twin.approx_kl, cpu.approx_kl),
            (twin.grad_norm, cpu.grad_norm),
        ];
        for (twin, cpu) in pairs {
            assert!((twin - cpu).abs() <= 1e-3 * (1.0 + cpu.abs()), "{twin} is not {cpu}");
        }
    }
    assert_ne!(variables(&cpu), start);
    close(&variables(&twin), &variables(&cpu), 1e-2);
}

#[test]
fn a_run_goes_on_at_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (prepared(folder.path()), folder.path().join("run"));
    let mut first = session(&config, Twin, &out, false);
    first.step().unwrap();
    first.save().unwrap();
    let left = variables(&first);
    drop(first);
    let mut second = session(&config, Cpu, &out, true);
    assert_eq!((second.steps_done(), variables(&second)), (1, left));
    second.step().unwrap();
    second.save().unwrap();
    let left = variables(&second);
    drop(second);
    let third = session(&config, Twin, &out, true);
    assert_eq!((third.steps_done(), variables(&third)), (2, left));
}

#[test]
fn the_kl_of_the_base_to_itself_is_nothing_in_a_coarse_number_format_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepared(folder.path());
    let checkpoint = Arc::new(Checkpoint::open(&config.model.base).unwrap());
    let base = load_base(&checkpoint, 100).unwrap();
    let prompts = read(config.prompts.train.as_deref(), Split::Train).unwrap();
    let prompts = prepare(&checkpoint, prompts, 64).unwrap();
    let gate = GateOptions::default();
    let options = HeldoutOptions { max_new_tokens: 12, kl_tokens: 12, seed: 7, gate, own: None };
    for precision in [Precision::F32, Precision::Int8] {
        let computing = Computing { device: Cpu, precision };
        let generator = Generator::start(checkpoint.clone(), base.geometry().positions, computing).unwrap();
        let scores = evaluate(&base, &generator, &generator.base().unwrap(), &prompts, &options).unwrap();
        assert!(scores.kl.abs() < 1e-4, "{} nats in {precision:?}", scores.kl);
    }
}
