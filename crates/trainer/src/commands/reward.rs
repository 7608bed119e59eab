//! `reward`: trains a reward model on preference pairs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tureen_engine::{Checkpoint, Precision};

use super::device::DeviceArgs;
use super::updates::Updates;
use crate::config::{LoraOptions, ModelOptions, read_checked};
use crate::error::TrainError;
use crate::generator::{Computing, Generator, Order, Sampling, answer_seed};
use crate::model::{Base, load_base_at};
use crate::pairs::{self, Pair};
use crate::place::Place;
use crate::prompts::chat_tokens;
use crate::reward_model::{Accuracy, RewardModel, Shape, TrainingOptions, accuracy, sequence, train as train_on};
use crate::state::write_atomically;

/// Trains a reward model on preference pairs.
#[derive(Args, Debug)]
pub struct RewardArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A reward model's training.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RewardConfig {
    /// The base.
    pub model: ModelOptions,
    /// What it learns from.
    pub pairs: PairOptions,
    /// Its trainable part; rank 8 by default.
    #[serde(default = "rank_8")]
    pub lora: LoraOptions,
    /// How it is optimised.
    #[serde(default)]
    pub training: TrainingOptions,
    /// How its rewards are brought to mean 0 and deviation 1.
    #[serde(default)]
    pub normalise: NormaliseOptions,
    /// Folder of `reward_model.safetensors` and `report.json`.
    pub out: PathBuf,
}

/// Pairs to learn from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PairOptions {
    /// The pair file, of any shape that [`pairs::read`] knows.
    pub file: PathBuf,
    /// Share of the prompts whose pairs are held out and never trained on.
    #[serde(default = "fifth")]
    pub heldout_share: f64,
    /// Pairs with a longer sequence, in tokens, are left out.
    #[serde(default = "tokens_512")]
    pub max_length: usize,
}

/// The base's own answers that the rewards are normalised under.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormaliseOptions {
    /// Answers, one for each of as many prompts of the pairs.
    pub answers: usize,
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
}

impl Default for NormaliseOptions {
    fn default() -> Self {
        Self { answers: 64, max_new_tokens: 48 }
    }
}

fn rank_8() -> LoraOptions {
    LoraOptions { r: 8, ..LoraOptions::default() }
}

fn fifth() -> f64 {
    0.2
}

fn tokens_512() -> usize {
    512
}

/// What `report.json` says.
#[derive(Debug, Deserialize, Serialize)]
pub struct RewardReport {
    /// Pairs that were trained on.
    pub trained: usize,
    /// Agreement with the pairs that were not.
    pub heldout: Accuracy,
    /// Pairs that were too long.
    pub left_out: usize,
    /// Mean loss of the last tenth of the updates, in nats a pair.
    pub loss: f64,
}

impl RewardConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot be used.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        read_checked(path, Self::check)
    }

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("lora.r", self.lora.r),
            ("pairs.max_length", self.pairs.max_length),
            ("normalise.answers", self.normalise.answers),
            ("normalise.max_new_tokens", self.normalise.max_new_tokens),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if !(0.0..1.0).contains(&self.pairs.heldout_share) || self.pairs.heldout_share == 0.0 {
            return Err("pairs.heldout_share must be above 0 and below 1".into());
        }
        self.training.check()
    }
}

/// Sequences of pairs, chosen and rejected.
type Sequences = Vec<[Vec<u32>; 2]>;

/// Trains, measures on held-out pairs, normalises, writes.
///
/// # Errors
/// A base or pairs that cannot be used, or a loss that is not finite; nothing is written then.
pub fn reward(args: RewardArgs) -> Result<(), TrainError> {
    let RewardArgs { config, device } = args;
    let place = Place::open(device.chosen()?)?;
    let config = RewardConfig::read(&config)?;
    let all = pairs::read(&config.pairs.file)?;
    let checkpoint = Checkpoint::open(&config.model.base).map_err(|error| TrainError::Base(error.to_string()))?;
    let checkpoint = Arc::new(checkpoint);
    let longest = config.pairs.max_length + config.normalise.max_new_tokens;
    let base = load_base_at(&place, &checkpoint, longest)?;
    let (heldout, training) = split(&all, config.pairs.heldout_share, config.training.seed);
    let sequences = |pairs: &[&Pair]| sequences(&checkpoint, pairs, config.pairs.max_length);
    let (train_rows, heldout_rows) = (sequences(&training)?, sequences(&heldout)?);
    if train_rows.is_empty() || heldout_rows.is_empty() {
        let file = config.pairs.file.display();
        return Err(TrainError::Invalid(format!("{file}: too few pairs of several prompts to train and hold out")));
    }
    let shape = Shape { r: config.lora.r, lora_alpha: config.lora.lora_alpha, a_seed: config.lora.a_seed };
    let mut model = RewardModel::new(&base, shape)?;
    let mut updates = Updates::new();
    train_on(&model, &base, &train_rows, &config.training, |done, all, loss| updates.tell(done, all, loss))?;
    let losses = updates.finish();
    let answers = own_answers(&checkpoint, &base, &all, &config)?;
    model.normalise(&base, &answers)?;
    let heldout = accuracy(&model, &base, &heldout_rows)?;
    let last = &losses[losses.len() - losses.len().div_ceil(10)..];
    let report = RewardReport {
        trained: train_rows.len(),
        heldout,
        left_out: all.len() - train_rows.len() - heldout_rows.len(),
        loss: last.iter().sum::<f64>() / last.len() as f64,
    };
    let out = &config.out;
    std::fs::create_dir_all(out).map_err(TrainError::io(out))?;
    model.write(&out.join("reward_model.safetensors"), &checkpoint)?;
    let json = serde_json::to_string_pretty(&report).map_err(|error| TrainError::Invalid(error.to_string()))? + "\n";
    write_atomically(&out.join("report.json"), json.as_bytes())?;
    println!(
        "trained on {} pairs, right on {} of {} held-out pairs: {:.1} % (95 % interval {:.1} to {:.1} %)",
        report.trained,
        heldout.right,
        heldout.pairs,
        100.0 * heldout.share(),
        100.0 * heldout.low,
        100.0 * heldout.high
    );
    Ok(())
}

/// Held-out pairs and pairs to train on. All pairs of one prompt fall on one side: they share its answers.
fn split(pairs: &[Pair], share: f64, seed: u64) -> (Vec<&Pair>, Vec<&Pair>) {
    let key = |pair: &Pair| serde_json::json!(pair.prompt).to_string();
    let mut prompts: Vec<String> = pairs.iter().map(key).collect::<BTreeSet<_>>().into_iter().collect();
    prompts.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let count = (prompts.len() as f64 * share).ceil() as usize;
    let heldout: BTreeSet<String> = prompts.into_iter().take(count).collect();
    pairs.iter().partition(|pair| heldout.contains(&key(pair)))
}

fn sequences(checkpoint: &Checkpoint, pairs: &[&Pair], longest: usize) -> Result<Sequences, TrainError> {
    let ends = &checkpoint.config().eos_token_ids;
    let mut rows = Vec::new();
    for pair in pairs {
        let prompt = chat_tokens(checkpoint, &pair.prompt)?;
        let row = |answer: &str| {
            let answer = checkpoint.tokenizer().encode(answer, false);
            answer.map(|answer| sequence(ends, &prompt, &answer))
        };
        let [chosen, rejected] = [row(&pair.chosen), row(&pair.rejected)];
        let both = chosen.and_then(|chosen| Ok([chosen, rejected?]));
        let both = both.map_err(|error| TrainError::Base(error.to_string()))?;
        if both.iter().all(|row| row.len() <= longest) {
            rows.push(both);
        }
    }
    Ok(rows)
}

/// The base's answers to prompts of the pairs, as sequences.
fn own_answers(
    checkpoint: &Arc<Checkpoint>,
    base: &Base,
    pairs: &[Pair],
    config: &RewardConfig,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let NormaliseOptions { answers, max_new_tokens } = config.normalise;
    let mut prompts: Vec<Vec<u32>> = Vec::new();
    for pair in pairs {
        let tokens = chat_tokens(checkpoint, &pair.prompt)?;
        if tokens.len() <= config.pairs.max_length && !prompts.contains(&tokens) {
            prompts.push(tokens);
        }
        if prompts.len() == answers {
            break;
        }
    }
    let computing = Computing { device: base.place().choice(), precision: Precision::Int8 };
    let generator = Generator::start(checkpoint.clone(), base.geometry().positions, computing)?;
    let soup = generator.base()?;
    let order = |(row, prompt): (usize, &Vec<u32>)| Order {
        prompt: prompt.clone(),
        soup: soup.clone(),
        sampling: Sampling::plain(max_new_tokens, answer_seed(&[config.training.seed, row as u64])),
    };
    let responses = generator.answer(&prompts.iter().enumerate().map(order).collect::<Vec<_>>())?;
    let ends = &checkpoint.config().eos_token_ids;
    Ok(prompts.iter().zip(responses).map(|(prompt, r)| sequence(ends, prompt, &r.tokens)).collect())
}
