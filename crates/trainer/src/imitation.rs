//! Supervised tuning: the adapter learns answers word by word.

use candle_core::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tureen_engine::{Checkpoint, Message};

use crate::error::TrainError;
use crate::model::{Base, Checkpointing, Delta, LoraAdapter};
use crate::ops::to_vec;
use crate::ppo::Adam;
use crate::prompts::chat_tokens;
use crate::reward_model::TrainingOptions;
use crate::sequence::score;

/// A prompt's tokens and those of the answer that is imitated, with the one that ends it.
pub(crate) type Example = (Vec<u32>, Vec<u32>);

/// Tokenises a conversation and the answer to it.
///
/// # Errors
/// A checkpoint without chat template, or text that cannot be tokenised.
pub(crate) fn example(checkpoint: &Checkpoint, prompt: &[Message], answer: &str) -> Result<Example, TrainError> {
    let prompt = chat_tokens(checkpoint, prompt)?;
    let answer = checkpoint.tokenizer().encode(answer, false);
    let mut answer = answer.map_err(|error| TrainError::Base(error.to_string()))?;
    answer.extend(checkpoint.config().eos_token_ids.first());
    Ok((prompt, answer))
}

/// Minimises the mean negative log-likelihood of the answers' tokens. `watch` gets the updates made, all updates, and the
/// loss of each in nats a token.
///
/// # Errors
/// A loss or gradient that is not finite, or an example longer than the base's tables.
pub(crate) fn imitate(
    base: &Base,
    adapter: &LoraAdapter,
    examples: &[Example],
    options: &TrainingOptions,
    mut watch: impl FnMut(u64, u64, f64),
) -> Result<(), TrainError> {
    let &TrainingOptions { learning_rate, max_grad_norm, num_train_epochs, batch_size, gradient_checkpointing, seed } =
        options;
    let variables = adapter.variables().into_iter().map(|(_, var)| var).collect();
    let mut adam = Adam::new(variables, learning_rate, max_grad_norm);
    let checkpointing = Checkpointing::chosen(gradient_checkpointing, base.geometry());
    tracing::info!("gradient checkpointing: {checkpointing}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let all = (examples.len().div_ceil(batch_size) * num_train_epochs) as u64;
    let mut done = 0;
    for _ in 0..num_train_epochs {
        order.shuffle(&mut rng);
        for chunk in order.chunks(batch_size) {
            adam.set_learning_rate(learning_rate * (1.0 - done as f64 / all as f64));
            done += 1;
            let delta = adapter.tracked(checkpointing);
            let loss = update(base, &delta, &mut adam, chunk.iter().map(|&at| &examples[at]), done)?;
            watch(done, all, loss);
        }
    }
    Ok(())
}

fn update<'a>(
    base: &Base,
    delta: &Delta,
    adam: &mut Adam,
    examples: impl Iterator<Item = &'a Example>,
    step: u64,
) -> Result<f64, TrainError> {
    let pairs: Vec<_> = examples.map(|(prompt, answer)| (prompt.as_slice(), answer.as_slice())).collect();
    let log_probs = score(base, Some(delta), &pairs)?.log_probs;
    let values = to_vec(&log_probs)?;
    let count = values.len();
    let loss = -values.iter().copied().map(f64::from).sum::<f64>() / count as f64;
    if !loss.is_finite() {
        return Err(TrainError::NotFinite { step, what: "loss" });
    }
    let slopes = Tensor::from_vec(vec![-1.0 / count as f32; count], count, log_probs.device())?;
    let norm = adam.step(&(log_probs * slopes)?.sum_all()?.backward()?)?;
    if norm.is_finite() { Ok(loss) } else { Err(TrainError::NotFinite { step, what: "gradient" }) }
}
