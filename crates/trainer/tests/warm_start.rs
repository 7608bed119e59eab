//! A run that learns openings of answers before PPO begins.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tureen_trainer::Session;
use tureen_trainer::config::Config;
use tureen_trainer::prompts::{Split, chat_tokens, read};
use tureen_trainer::sequence::score;

fn config(folder: &Path, more: &str) -> Result<Config, String> {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    std::fs::write(folder.join("prompts.txt"), "What is a cat?\nWho are you?\n").unwrap();
    let text = format!(
        r#"
        policy = {{ id = "tiny", code = "P0", dimension = "size", instruction = "Be tiny.", license = "Apache-2.0" }}
        model = {{ base = '{base}' }}
        prompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}
        lora = {{ r = 4, lora_alpha = 8.0, a_seed = 3 }}
        generation = {{ output_min_length = 5, output_max_length = 8 }}
        reward = {{ parts = [{{ kind = "no_eos", weight = 1.0 }}] }}
        ppo = {{ steps = 2, batch_size = 4, mini_batch_size = 2, learning_rate = 0.01 }}
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

const WARM: &str = "warm_start = { openings = ['cat', 'you'], examples = 8, \
                    training = { learning_rate = 0.01, num_train_epochs = 6 } }";

/// Log-probability of the opening "cat" as an answer's first words, under the run's policy.
fn liking(session: &Session, folder: &Path) -> f64 {
    let checkpoint = session.checkpoint();
    let turns = read(Some(&folder.join("prompts.txt")), Split::Train).unwrap().remove(0);
    let prompt = chat_tokens(checkpoint, &turns).unwrap();
    let answer = checkpoint.tokenizer().encode("cat", false).unwrap();
    let scored = score(session.base(), Some(&session.adapter().tracked()), &[(&prompt, &answer)]).unwrap();
    f64::from(scored.log_probs.mean_all().unwrap().to_scalar::<f32>().unwrap())
}

fn bits(session: &Session) -> Vec<Vec<u32>> {
    let values = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let variables = session.adapter().variables().into_iter();
    variables.map(|(_, var)| values(&var).into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn the_policy_begins_with_the_openings() {
    let folder = tempfile::tempdir().unwrap();
    let cold = Session::open(config(folder.path(), "").unwrap(), false).unwrap();
    let begun = Session::open(config(folder.path(), WARM).unwrap(), false).unwrap();
    let (before, after) = (liking(&cold, folder.path()), liking(&begun, folder.path()));
    assert!(after > before + 0.5, "{before} before, {after} after");
    assert_eq!(begun.steps_done(), 0);
    let again = Session::open(config(folder.path(), WARM).unwrap(), false).unwrap();
    assert_eq!(bits(&begun), bits(&again), "the same seed gives the same beginning");
}

#[test]
fn a_run_that_goes_on_imitates_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Session::open(config(folder.path(), WARM).unwrap(), false).unwrap();
    first.step().unwrap();
    first.save().unwrap();
    let resumed = Session::open(config(folder.path(), WARM).unwrap(), true).unwrap();
    assert_eq!(bits(&first), bits(&resumed));
}

#[test]
fn what_cannot_begin_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |more: &str| config(folder.path(), more).unwrap_err();
    assert!(refused("warm_start = { openings = [] }").contains("openings"));
    assert!(refused("warm_start = { openings = ['a', ' '] }").contains("openings"));
    assert!(refused("warm_start = { openings = ['a'], examples = 0 }").contains("examples"));
    assert!(refused(&WARM.replace("num_train_epochs = 6", "num_train_epochs = 0")).contains("num_train_epochs"));
    let long = format!("warm_start = {{ openings = ['{}'] }}", "cat ".repeat(40));
    let error = Session::open(config(folder.path(), &long).unwrap(), false).err().unwrap().to_string();
    assert!(error.contains("answers at most 8"), "{error}");
}
