//! One running generation, as the routes see it: ends exactly once, on time, and is counted.

mod meter;
mod step;
mod time;

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tureen_engine::{Event, FinishReason, Generation};

use crate::audit::Pending;
use crate::explain::Explain;
use crate::guard::{Outcome, Screen};
use crate::learning::Keeping;
use crate::problem::ApiError;
use crate::rollout::{Watch, is_fault};
use crate::wire::answer::{Details, SoupView, Token};
use crate::wire::explanation::Explanation;

use meter::Meter;
pub use step::{Counts, Finished, Reason, Step};
use time::Time;
pub(crate) use time::late;

/// Owns the generation: dropping this frees its row, its memory and its place in the queue.
pub struct Live {
    generation: Option<Generation>,
    soup: SoupView,
    time: Time,
    /// What has left.
    text: String,
    /// Of the next event.
    index: usize,
    /// What happened, and was not told yet.
    ready: VecDeque<Step>,
    counts: Counts,
    meter: Meter,
    record: Option<Pending>,
    explain: Option<Explain>,
    keep: Option<Keeping>,
    screen: Option<Screen>,
    /// What the checks found was counted and recorded.
    told: bool,
}

impl Live {
    /// Watches `generation` until it ends, `timeout` is over or `cut` fires.
    pub fn new(
        generation: Generation,
        soup: SoupView,
        counts: Counts,
        (timeout, cut): (Duration, CancellationToken),
        watch: Watch,
    ) -> Self {
        let now = Instant::now();
        Self {
            generation: Some(generation),
            soup,
            time: Time::new(now, timeout, cut),
            text: String::new(),
            index: 0,
            ready: VecDeque::new(),
            counts,
            meter: Meter::new(watch, now),
            record: None,
            explain: None,
            keep: None,
            screen: None,
            told: false,
        }
    }

    /// Leaves `record` when it ends.
    pub fn recorded(mut self, record: Option<Pending>) -> Self {
        self.record = record;
        self
    }

    /// Is explained when it is whole.
    pub fn explained(mut self, explain: Option<Explain>) -> Self {
        self.explain = explain;
        self
    }

    /// Is kept when it is whole, so that feedback can name it.
    pub fn kept(mut self, keep: Option<Keeping>) -> Self {
        self.keep = keep;
        self
    }

    /// Is checked before it leaves.
    pub(crate) fn screened(mut self, screen: Option<Screen>) -> Self {
        self.screen = screen;
        self
    }

    /// The soup that serves this.
    pub fn soup(&self) -> &SoupView {
        &self.soup
    }

    /// The next step; `None` after the end.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            let generation = self.generation.as_mut()?;
            let event = self.time.bound(generation.next()).await.and_then(|event| event.ok_or_else(lost));
            if let Err(error) = self.hear(event).await {
                self.fail(error);
            }
        }
    }

    async fn hear(&mut self, event: Result<Event, ApiError>) -> Result<(), ApiError> {
        match event {
            Ok(Event::Token { id, text, logprob, .. }) => self.token(id, text, logprob).await,
            Ok(Event::Finished { reason, prompt_tokens, generated_tokens, seed, text }) => {
                self.counts = Counts { prompt_tokens, generated_tokens, seed };
                self.whole(reason, text).await
            }
            Ok(Event::Failed(error)) => self.break_off(crate::submit::generation_error(&error)).await,
            Err(error) => self.break_off(error).await,
        }
    }

    async fn token(&mut self, id: u32, text: String, logprob: f32) -> Result<(), ApiError> {
        self.meter.token();
        self.counts.generated_tokens += 1;
        if let Some(record) = &mut self.record {
            record.token(id, logprob, &text);
        }
        if let Some(keep) = &mut self.keep {
            keep.token(id, &text);
        }
        if let Some(explain) = &mut self.explain {
            explain.token(id, &text, logprob);
        }
        let token = Token { id: Some(id), text, logprob: Some(logprob) };
        let Some(screen) = &mut self.screen else {
            self.tell(token);
            return Ok(());
        };
        let cleared = self.time.bound(screen.token(token)).await.flatten();
        let cut = screen.is_blocked().then(|| screen.cut());
        let tokens = match cleared {
            Ok(tokens) => tokens,
            Err(error) => return self.break_off(error).await,
        };
        tokens.into_iter().for_each(|token| self.tell(token));
        match cut {
            None => Ok(()),
            Some(tail) => self.end(Reason::ContentFilter, (String::new(), tail), None).await,
        }
    }

    /// The engine's answer is whole, with `text` as its last.
    async fn whole(&mut self, reason: FinishReason, text: String) -> Result<(), ApiError> {
        let reason = Reason::Engine(reason);
        let Some(screen) = &mut self.screen else {
            return self.end(reason, (text.clone(), text), None).await;
        };
        let checked = async {
            let (tokens, tail) = screen.finish(&text).await?;
            Ok((tokens, tail, screen.hold().await?))
        };
        match self.time.bound(checked).await.flatten() {
            Ok((tokens, tail, review)) => {
                let reason = match screen.outcome() {
                    Outcome::Blocked => Reason::ContentFilter,
                    Outcome::Held => Reason::Held,
                    Outcome::Unchanged | Outcome::Redacted => reason,
                };
                tokens.into_iter().for_each(|token| self.tell(token));
                self.end(reason, (text, tail), review).await
            }
            Err(error) => self.break_off(error).await,
        }
    }

    fn tell(&mut self, token: Token) {
        self.text.push_str(&token.text);
        self.ready.push_back(Step::Token { index: self.index, token });
        self.index += 1;
    }

    /// The answer ends, with `last` as the engine's last text and `tail` as the last that leaves.
    async fn end(
        &mut self,
        reason: Reason,
        (last, tail): (String, String),
        review: Option<String>,
    ) -> Result<(), ApiError> {
        self.text.push_str(&tail);
        self.leave_record(reason.name(), &last).await?;
        let Counts { prompt_tokens, generated_tokens, seed } = self.counts;
        self.meter.finished(reason.into(), prompt_tokens, generated_tokens);
        if let Some(keep) = self.keep.take().filter(|_| self.is_as_made()) {
            keep.finish(&last);
        }
        // Its row is free for others while it is explained.
        self.generation = None;
        let explanation = self.explanation().await;
        let text = std::mem::take(&mut self.text);
        let details = Details { finish_reason: reason.name(), prompt_tokens, generated_tokens, seed, tokens: None };
        let finished = Finished { index: self.index, tail, text, reason, details, explanation, review };
        self.ready.push_back(Step::Finished(finished));
        Ok(())
    }

    /// Whether what left is what the engine made.
    fn is_as_made(&self) -> bool {
        self.screen.as_ref().is_none_or(|screen| screen.outcome() == Outcome::Unchanged)
    }

    /// Within the time of the answer. It tells every token, so there is none of an answer that left otherwise.
    async fn explanation(&mut self) -> Option<Explanation> {
        let explain = self.explain.take()?;
        if !self.is_as_made() {
            return Some(Explanation::unavailable("content_filter"));
        }
        let explained = self.time.bound(explain.finish()).await;
        Some(explained.unwrap_or_else(|error| Explanation::unavailable(error.code)))
    }

    async fn leave_record(&mut self, end: &str, tail: &str) -> Result<(), ApiError> {
        match self.take_record() {
            Some(record) => record.end(end, tail).await,
            None => Ok(()),
        }
    }

    /// The record, with what the checks found, which is counted once.
    fn take_record(&mut self) -> Option<Pending> {
        let mut record = self.record.take();
        if let Some(screen) = self.screen.as_ref().filter(|_| !self.told) {
            self.told = true;
            self.meter.guarded(screen.decisions());
            if let Some(record) = &mut record {
                record.screened(screen.decisions(), &self.text);
            }
        }
        record
    }

    async fn break_off(&mut self, error: ApiError) -> Result<(), ApiError> {
        // The first error is the one to tell.
        let _ = self.leave_record(error.code, "").await;
        Err(error)
    }

    /// What was not told yet is not told any more.
    fn fail(&mut self, error: ApiError) {
        self.meter.failed(is_fault(error.code));
        self.generation = None;
        self.ready.clear();
        self.ready.push_back(Step::Failed(error));
    }
}

/// A client that left leaves a record as well.
impl Drop for Live {
    fn drop(&mut self) {
        drop(self.take_record());
    }
}

fn lost() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine_lost", "the engine gave up this generation")
}
