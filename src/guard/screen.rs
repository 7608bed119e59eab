//! The checks of an answer that is being made.

use std::collections::VecDeque;

use super::chain::Side;
use super::flow::{Decision, Flow, Unavailable};
use super::hold::Holder;
use super::input::unavailable;
use crate::config::Config;
use crate::problem::ApiError;
use crate::wire::answer::Token;

/// An answer on its way past the checks. A token leaves with its id and log-probability when all of its text leaves as it
/// was; from the first redaction on, text leaves without them.
pub(crate) struct Screen {
    flow: Flow,
    /// Came from the engine, and did not leave.
    waiting: VecDeque<Token>,
    /// Has left the checks, and is not yet the whole text of a token.
    cleared: String,
    /// Nothing leaves before the end: a person may have to decide about all of it.
    until_end: Option<String>,
    holder: Option<Holder>,
    retry_after_s: u64,
}

/// How the checks ended an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes out as it was made.
    Unchanged,
    /// It goes out, redacted.
    Redacted,
    /// It ended before what was found.
    Blocked,
    /// A person has to decide about it.
    Held,
}

impl Screen {
    /// `None` when answers are not checked. `holder` is there when one may be held.
    pub(crate) fn new(config: &Config, holder: Option<Holder>) -> Option<Self> {
        let chain = &config.guard.chain;
        let until_end = chain.holds(Side::Output).then(String::new);
        let screen = || Self {
            flow: Flow::new(chain, Side::Output),
            waiting: VecDeque::new(),
            cleared: String::new(),
            until_end,
            holder,
            retry_after_s: config.limits.retry_after_s,
        };
        chain.covers(Side::Output).then(screen)
    }

    /// A token came. What may leave now.
    ///
    /// # Errors
    /// 503 when a check cannot be made.
    pub(crate) async fn token(&mut self, token: Token) -> Result<Vec<Token>, ApiError> {
        let text = self.flow.push(&token.text).await.map_err(|e| self.refused(&e))?;
        self.waiting.push_back(token);
        Ok(self.clear(&text))
    }

    /// The answer is whole, with `tail` as its last text. What leaves now: tokens, and the rest of the text.
    ///
    /// # Errors
    /// As [`Screen::token`].
    pub(crate) async fn finish(&mut self, tail: &str) -> Result<(Vec<Token>, String), ApiError> {
        let text = self.flow.finish(tail).await.map_err(|e| self.refused(&e))?;
        let tokens = self.clear(&text);
        Ok(self.rest(tokens))
    }

    /// Whether the answer ends here.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flow.blocked().is_some()
    }

    /// The last text that leaves of an answer that ends here.
    pub(crate) fn cut(&mut self) -> String {
        std::mem::take(&mut self.cleared)
    }

    /// Stores the answer if a person has to decide about it, and tells the id of the review.
    ///
    /// # Errors
    /// 503 when it cannot be stored.
    pub(crate) async fn hold(&mut self) -> Result<Option<String>, ApiError> {
        match (self.outcome(), &self.holder, &mut self.until_end) {
            (Outcome::Held, Some(holder), Some(text)) => {
                holder.answer(self.flow.held(), std::mem::take(text)).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What was decided.
    pub(crate) fn decisions(&self) -> &[Decision] {
        self.flow.decisions()
    }

    /// How it ended.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.is_blocked() {
            Outcome::Blocked
        } else if !self.flow.held().is_empty() {
            Outcome::Held
        } else if self.flow.changed() {
            Outcome::Redacted
        } else {
            Outcome::Unchanged
        }
    }

    fn refused(&self, Unavailable(check): &Unavailable) -> ApiError {
        unavailable(check, self.retry_after_s)
    }

    fn clear(&mut self, text: &str) -> Vec<Token> {
        if let Some(whole) = &mut self.until_end {
            whole.push_str(text);
            return Vec::new();
        }
        self.cleared.push_str(text);
        self.leaving()
    }

    /// Tokens whose text has left the checks, with those before them that have none.
    fn leaving(&mut self) -> Vec<Token> {
        if self.flow.changed() {
            self.waiting.clear();
            let text = std::mem::take(&mut self.cleared);
            return if text.is_empty() { Vec::new() } else { vec![Token { text, ..Token::default() }] };
        }
        let (mut count, mut bytes) = (0, 0);
        for (i, token) in self.waiting.iter().enumerate() {
            if bytes + token.text.len() > self.cleared.len() {
                break;
            }
            bytes += token.text.len();
            // A token without text is part of a character to come, so it leaves with that.
            if !token.text.is_empty() {
                count = i + 1;
            }
        }
        self.cleared.drain(..bytes);
        self.waiting.drain(..count).collect()
    }

    fn rest(&mut self, mut tokens: Vec<Token>) -> (Vec<Token>, String) {
        let goes = matches!(self.outcome(), Outcome::Unchanged | Outcome::Redacted);
        if let Some(whole) = self.until_end.as_mut().filter(|_| goes) {
            self.cleared = std::mem::take(whole);
            tokens.extend(self.leaving());
        }
        if self.outcome() == Outcome::Unchanged {
            // All of the text has left, so tokens that have none may.
            tokens.extend(self.waiting.drain(..));
        }
        (tokens, std::mem::take(&mut self.cleared))
    }
}
