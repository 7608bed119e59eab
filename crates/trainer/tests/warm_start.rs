//! A run that learns the base's best answers behind turns that show the preference, before PPO begins.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tureen_trainer::Session;
use tureen_trainer::config::Config;
use tureen_trainer::model::Base;
use tureen_trainer::reward::{Reward, Scored, Scoring};

/// Rewards answers that begin with a token of an even number: half of them do, where nothing was learned.
struct Even;

impl Reward for Even {
    fn score_all(&self, _: &Base, rows: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        let even = |row: &Scoring<'_>| f64::from(u8::from(row.response[0].is_multiple_of(2)));
        Ok(rows.iter().map(even).map(|score| Scored { score, measure: score, gate: 1.0 }).collect())
    }
}

/// Scores nothing.
struct Unwilling;

impl Reward for Unwilling {
    fn score_all(&self, _: &Base, _: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        candle_core::bail!("this one does not score")
    }
}

fn open(folder: &Path, more: &str, resume: bool) -> Session {
    Session::with_reward(config(folder, more).unwrap(), resume, Box::new(Even)).unwrap()
}

fn config(folder: &Path, more: &str) -> Result<Config, String> {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    std::fs::write(folder.join("prompts.txt"), "What is a cat?\nWho are you?\nTell me more.\nWhy?\n").unwrap();
    let text = format!(
        r#"
        policy = {{ id = "tiny", code = "P0", dimension = "size", instruction = "Be tiny.", license = "Apache-2.0" }}
        model = {{ base = '{base}' }}
        prompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}
        lora = {{ r = 4, lora_alpha = 8.0, a_seed = 3 }}
        generation = {{ output_min_length = 2, output_max_length = 3 }}
        reward = {{ parts = [{{ kind = "no_eos", weight = 1.0 }}] }}
        ppo = {{ steps = 2, batch_size = 16, mini_batch_size = 8, learning_rate = 0.01 }}
        run = {{ out = '{out}', save_freq = 1 }}
        {more}
        "#,
        base = base.display(),
        prompts = folder.join("prompts.txt").display(),
        out = folder.join("run").display(),
    );
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    Config::read(&folder.join("tiny.toml")).map_err(|error| error.to_string())
}

const WARM: &str = "warm_start = { turns = [{ prompt = 'Who?', answer = 'Me.' }, { prompt = 'Why?', answer = 'So.' }], \
                    answers = 16, temperature = 2.0, top_p = 1.0, least = 0.5, \
                    training = { learning_rate = 0.01, num_train_epochs = 60 } }";

fn bits(session: &Session) -> Vec<Vec<u32>> {
    let values = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let variables = session.adapter().variables().into_iter();
    variables.map(|(_, var)| values(&var).into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn what_the_reward_chose_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let first = |more: &str| open(folder.path(), more, false).step().unwrap();
    let (cold, warm) = (first(""), first(WARM));
    assert_eq!(cold.kl, 0.0);
    assert!(warm.kl > 0.1, "the reference stays the base: {}", warm.kl);
    assert!(warm.scores > cold.scores + 0.1, "{} cold, {} warm", cold.scores, warm.scores);
}

#[test]
fn the_same_seed_begins_alike_and_a_run_that_goes_on_does_not_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut begun = open(folder.path(), WARM, false);
    assert_eq!(begun.steps_done(), 0);
    // What is kept for the gradients is no other configuration.
    let warm = &WARM.replace("num_train_epochs", "gradient_checkpointing = true, num_train_epochs");
    assert_eq!(bits(&begun), bits(&open(folder.path(), warm, false)));
    begun.step().unwrap();
    begun.save().unwrap();
    assert_eq!(bits(&begun), bits(&open(folder.path(), warm, true)));
}

#[test]
fn a_run_that_ends_in_its_first_step_goes_on_behind_the_warm_start() {
    let folder = tempfile::tempdir().unwrap();
    let begun = bits(&open(folder.path(), WARM, false));
    let mut broken = Session::with_reward(config(folder.path(), WARM).unwrap(), true, Box::new(Unwilling)).unwrap();
    assert_eq!((broken.steps_done(), bits(&broken)), (0, begun.clone()));
    assert!(broken.step().is_err());
    drop(broken);
    // Other settings may begin there too.
    let mut other = config(folder.path(), WARM).unwrap();
    other.ppo.learning_rate = 0.001;
    other.run.start_from = Some(folder.path().join("run/checkpoint-00000.safetensors"));
    other.run.out = folder.path().join("other");
    let other = Session::with_reward(other, false, Box::new(Unwilling)).unwrap();
    assert_eq!((other.steps_done(), bits(&other)), (0, begun));

    let mut resumed = open(folder.path(), WARM, true);
    let step = resumed.step().unwrap();
    let whole = tempfile::tempdir().unwrap();
    let mut whole = open(whole.path(), WARM, false);
    let expected = whole.step().unwrap();
    assert_eq!((step.step, step.kl.to_bits()), (1, expected.kl.to_bits()));
    assert_eq!(bits(&resumed), bits(&whole));
}

#[test]
fn what_cannot_begin_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |old: &str, new: &str| config(folder.path(), &WARM.replace(old, new)).unwrap_err();
    assert!(
        refused("[{ prompt = 'Who?', answer = 'Me.' }, { prompt = 'Why?', answer = 'So.' }]", "[]").contains("turns")
    );
    assert!(refused("answers = 16", "answers = 0").contains("answers"));
    assert!(refused("top_p = 1.0", "top_p = 1.5").contains("top_p"));
    assert!(refused("temperature = 2.0", "temperature = 0.0").contains("temperature"));
    assert!(refused("num_train_epochs = 60", "num_train_epochs = 0").contains("num_train_epochs"));
    let high = config(folder.path(), &WARM.replace("least = 0.5", "least = 9.0")).unwrap();
    let error = Session::open(high, false).err().unwrap().to_string();
    assert!(error.contains("no answer") && error.contains('9'), "{error}");
}
