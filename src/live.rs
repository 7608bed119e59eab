//! One running generation, as the routes see it: ends exactly once, on time, and is counted.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tureen_engine::{Event, FinishReason, Generation};

use crate::audit::Pending;
use crate::explain::Explain;
use crate::learning::Keeping;
use crate::metrics::{End, Metrics};
use crate::problem::ApiError;
use crate::wire::answer::{Details, SoupView, Token, reason_name};
use crate::wire::explanation::Explanation;

/// What happened next.
#[derive(Debug)]
pub enum Step {
    /// A token came.
    Token {
        /// Counts from 0.
        index: usize,
        /// The token.
        token: Token,
    },
    /// The answer is whole. Nothing follows.
    Finished(Finished),
    /// The answer broke off. Nothing follows.
    Failed(ApiError),
}

/// How an answer ended.
#[derive(Debug)]
pub struct Finished {
    /// Index for the last event.
    pub index: usize,
    /// Text that was held back until the end.
    pub tail: String,
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub reason: FinishReason,
    /// Counts and seed.
    pub details: Details,
    /// Which policy wanted it, if that was asked.
    pub explanation: Option<Explanation>,
}

/// Owns the generation: dropping this frees its row, its memory and its place in the queue.
pub struct Live {
    generation: Option<Generation>,
    soup: SoupView,
    deadline: Instant,
    cut: CancellationToken,
    text: String,
    index: usize,
    meter: Meter,
    record: Option<Pending>,
    explain: Option<Explain>,
    keep: Option<Keeping>,
}

impl Live {
    /// Watches `generation` until it ends, `timeout` is over or `cut` fires.
    pub fn new(
        generation: Generation,
        soup: SoupView,
        timeout: Duration,
        cut: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Self {
        let now = Instant::now();
        let meter = Meter { metrics, started: now, last: None, end: End::Abort };
        let generation = Some(generation);
        let deadline = now + timeout;
        Self {
            generation,
            soup,
            deadline,
            cut,
            text: String::new(),
            index: 0,
            meter,
            record: None,
            explain: None,
            keep: None,
        }
    }

    /// Leaves `record` when it ends.
    pub fn recorded(self, record: Option<Pending>) -> Self {
        Self { record, ..self }
    }

    /// Is explained when it is whole.
    pub fn explained(self, explain: Option<Explain>) -> Self {
        Self { explain, ..self }
    }

    /// Is kept when it is whole, so that feedback can name it.
    pub fn kept(self, keep: Option<Keeping>) -> Self {
        Self { keep, ..self }
    }

    /// The soup that serves this.
    pub fn soup(&self) -> &SoupView {
        &self.soup
    }

    /// The next step; `None` after the end.
    pub async fn next(&mut self) -> Option<Step> {
        let generation = self.generation.as_mut()?;
        let event = tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(ApiError::shutting_down()),
            () = tokio::time::sleep_until(self.deadline) => Err(late()),
            event = generation.next() => event.ok_or_else(lost),
        };
        let step = match event {
            Ok(Event::Token { index, id, text, logprob }) => {
                self.meter.token();
                if let Some(record) = &mut self.record {
                    record.token(id, logprob, &text);
                }
                if let Some(keep) = &mut self.keep {
                    keep.token(id, &text);
                }
                if let Some(explain) = &mut self.explain {
                    explain.token(id, &text, logprob);
                }
                self.text.push_str(&text);
                self.index = index + 1;
                return Some(Step::Token { index, token: Token { id: Some(id), text, logprob: Some(logprob) } });
            }
            Ok(Event::Finished { reason, prompt_tokens, generated_tokens, seed, text }) => {
                let finish_reason = reason_name(reason);
                if let Err(error) = self.leave_record(finish_reason, &text).await {
                    let step = self.fail(error);
                    self.generation = None;
                    return Some(step);
                }
                self.meter.finished(reason, prompt_tokens, generated_tokens);
                if let Some(keep) = self.keep.take() {
                    keep.finish(&text);
                }
                self.text.push_str(&text);
                let details = Details { finish_reason, prompt_tokens, generated_tokens, seed, tokens: None };
                // Its row is free for others while it is explained.
                self.generation = None;
                let explanation = self.explanation().await;
                let whole = std::mem::take(&mut self.text);
                Step::Finished(Finished { index: self.index, tail: text, text: whole, reason, details, explanation })
            }
            Ok(Event::Failed(error)) => self.broke_off(crate::submit::generation_error(&error)).await,
            Err(error) => self.broke_off(error).await,
        };
        self.generation = None;
        Some(step)
    }

    /// Within the time of the answer.
    async fn explanation(&mut self) -> Option<Explanation> {
        let explain = self.explain.take()?;
        Some(tokio::select! {
            biased;
            () = self.cut.cancelled() => Explanation::unavailable("shutting_down"),
            () = tokio::time::sleep_until(self.deadline) => Explanation::unavailable("deadline_exceeded"),
            explanation = explain.finish() => explanation,
        })
    }

    async fn leave_record(&mut self, end: &str, tail: &str) -> Result<(), ApiError> {
        match self.record.take() {
            Some(record) => record.end(end, tail).await,
            None => Ok(()),
        }
    }

    async fn broke_off(&mut self, error: ApiError) -> Step {
        // The first error is the one to tell.
        let _ = self.leave_record(error.code, "").await;
        self.fail(error)
    }

    fn fail(&mut self, error: ApiError) -> Step {
        self.meter.end = End::Error;
        Step::Failed(error)
    }
}

fn late() -> ApiError {
    let detail = "the generation took longer than server.request_timeout_ms; ask for fewer tokens";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail)
}

fn lost() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine_lost", "the engine gave up this generation")
}

/// Counts when dropped, so an answer that a client left counts as well.
struct Meter {
    metrics: Arc<Metrics>,
    started: Instant,
    last: Option<Instant>,
    end: End,
}

impl Meter {
    fn token(&mut self) {
        let now = Instant::now();
        match self.last {
            None => self.metrics.first_token(now - self.started),
            Some(last) => self.metrics.inter_token(now - last),
        }
        self.last = Some(now);
    }

    fn finished(&mut self, reason: FinishReason, prompt_tokens: usize, generated_tokens: usize) {
        self.end = reason.into();
        self.metrics.tokens(prompt_tokens, generated_tokens);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.ended(self.end, self.started.elapsed());
    }
}
