//! Scoring finished answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tureen_soup::{Pool, Soup};

use super::{Engine, not_sent};
use crate::error::{GenerationError, SubmitError};
use crate::kv::SequenceCache;
use crate::model::Mix;
use crate::scheduler::{Command, Place, ScoreJob, Scored};

/// A finished answer to be scored.
#[derive(Debug, Clone)]
pub struct Text {
    /// Tokens of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// Tokens of the answer.
    pub answer: Vec<u32>,
    /// The pool that the soups were made from.
    pub pool: Arc<Pool>,
    /// Under which soups.
    pub soups: Vec<Arc<Soup>>,
}

impl Engine {
    /// Natural logarithms of the probabilities that soups give to each token of a finished answer, all of them rows of one
    /// batch on the gate: for each soup of `text`, one number a token; `None` for soups that the gate cannot serve. Bit for
    /// bit what a generation on the gate tells of the same tokens. It is computed in pieces between the steps of running
    /// requests. Dropping the future ends the work.
    ///
    /// # Errors
    /// As submitting can fail; and when there is no room for the KV caches of all soups now.
    pub async fn score(&self, text: Text) -> Result<Vec<Option<Vec<f32>>>, GenerationError> {
        let inner = &*self.0;
        let Text { prompt, answer, pool, soups } = text;
        if inner.stopping.load(Ordering::Acquire) || !self.is_healthy() {
            return Err(GenerationError::ShuttingDown);
        }
        let (prompt_tokens, tokens) = (prompt.len(), [prompt, answer].concat());
        if prompt_tokens == 0 || tokens.len() > inner.options.max_context {
            let context = inner.options.max_context;
            return Err(SubmitError::PromptTooLong { tokens: tokens.len(), context }.into());
        }
        inner.check_tokens(&tokens)?;
        let gates = inner.gates(&pool).map_err(SubmitError::DeviceFailed)?;
        let on_gate = |soup: &Arc<Soup>| soup.is_base() || (pool.supports_gate(soup) && gates.serves(soup));
        let scored: Vec<bool> = soups.iter().map(on_gate).collect();
        let mixes: Vec<_> = soups.iter().zip(&scored).filter(|(_, on)| **on).map(|(soup, _)| Mix::of(soup)).collect();
        let mut scores = vec![Vec::new(); mixes.len()];
        if tokens.len() > prompt_tokens && !mixes.is_empty() {
            let positions = tokens.len() - 1;
            inner.fits(inner.kv.bytes(positions).saturating_mul(mixes.len() as u64))?;
            let limit = inner.options.max_batch_rows + inner.options.max_waiting;
            let place = Place::take(&inner.places, limit).ok_or(SubmitError::QueueFull)?;
            let caches = mixes.iter().map(|_| SequenceCache::new(inner.kv.clone(), positions)).collect();
            let (reply, answer) = tokio::sync::oneshot::channel();
            let job = ScoreJob::new((tokens, prompt_tokens), Scored { gates, mixes }, caches, reply, place);
            inner.commands.try_send(Command::Score(Box::new(job))).map_err(not_sent)?;
            scores = answer.await.unwrap_or(Err(GenerationError::ShuttingDown))?;
        }
        let mut scores = scores.into_iter();
        Ok(scored.into_iter().map(|on| on.then(|| scores.next()).flatten()).collect())
    }
}
