//! `kind = "moderation"`: asks an endpoint in the shape of OpenAI's `POST /v1/moderations`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// Bytes of an answer that are read at most.
const ANSWER: usize = 256 << 10;

/// Characters that one question holds at most, and how many of them are said again in the next one.
pub(super) const QUESTION: usize = 16_384;
const OVERLAP: usize = 256;

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) key: Option<Secret>,
    pub(super) model: Option<String>,
    /// What counts; with none, whatever the endpoint flags.
    pub(super) categories: Vec<String>,
    pub(super) timeout: Duration,
}

/// A check that asks.
#[derive(Debug, Clone)]
pub(super) struct Moderation {
    endpoint: Arc<Endpoint>,
    client: Client,
    /// Characters that are asked about together; `None` waits for the end of the text.
    window: Option<usize>,
    /// Whether what cannot be asked about passes.
    pub(super) open: bool,
}

/// The endpoint did not say.
#[derive(Debug)]
pub(super) struct Unanswered;

#[derive(Serialize)]
struct Question<'a> {
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Opinion>,
}

#[derive(Deserialize)]
struct Opinion {
    flagged: bool,
    #[serde(default)]
    categories: std::collections::BTreeMap<String, Option<bool>>,
}

impl Moderation {
    /// # Errors
    /// When there is nothing to ask with, for people.
    pub(super) fn new(endpoint: Endpoint, window: Option<usize>, open: bool) -> Result<Self, String> {
        // Texts go to the endpoint that was named and nowhere else.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(endpoint.timeout).build();
        let client = client.map_err(|e| format!("the endpoint cannot be asked: {e}"))?;
        Ok(Self { endpoint: Arc::new(endpoint), client, window, open })
    }

    /// Whether `text` is flagged.
    async fn ask(&self, text: &str) -> Result<bool, Unanswered> {
        let Endpoint { url, key, model, categories, .. } = &*self.endpoint;
        let mut request = self.client.post(url.clone()).json(&Question { input: text, model: model.as_deref() });
        if let Some(key) = key {
            request = request.bearer_auth(key.reveal());
        }
        // Errors are not told on: they hold the URL, and an answer may hold the text.
        let mut response = request.send().await.map_err(|_| Unanswered)?;
        if !response.status().is_success() {
            return Err(Unanswered);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Unanswered)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER {
                return Err(Unanswered);
            }
        }
        let Answer { results } = serde_json::from_slice(&body).map_err(|_| Unanswered)?;
        if results.is_empty() {
            return Err(Unanswered);
        }
        let counts = |opinion: &Opinion| match &categories[..] {
            [] => opinion.flagged,
            wanted => wanted.iter().any(|name| opinion.categories.get(name).copied().flatten() == Some(true)),
        };
        Ok(results.iter().any(counts))
    }
}

/// A text on its way past the endpoint.
#[derive(Debug)]
pub(super) struct Moderator {
    moderation: Moderation,
    /// Whether the text ends before what is flagged.
    stops: bool,
    /// Said before: an endpoint judges by what stands around.
    context: String,
    held: String,
    /// Characters of it.
    count: usize,
}

/// What came of a piece.
#[derive(Debug, Default)]
pub(super) struct Moderated {
    /// What was asked about.
    pub(super) text: String,
    /// How often it was flagged.
    pub(super) found: usize,
    /// How often there was no answer, and it passed.
    pub(super) unanswered: usize,
    /// It ended here.
    pub(super) stopped: bool,
}

impl Moderator {
    pub(super) fn new(moderation: &Moderation, stops: bool) -> Self {
        Self { moderation: moderation.clone(), stops, context: String::new(), held: String::new(), count: 0 }
    }

    /// More text; with `last`, there is no more.
    pub(super) async fn push(&mut self, text: &str, last: bool) -> Result<Moderated, Unanswered> {
        self.held.push_str(text);
        self.count += text.chars().count();
        let mut out = Moderated::default();
        while !out.stopped && (last && self.count > 0 || self.moderation.window.is_some_and(|most| self.count >= most))
        {
            let part = self.take(self.moderation.window.unwrap_or(QUESTION));
            let question = format!("{}{part}", self.context);
            let flagged = match self.moderation.ask(&question).await {
                Ok(flagged) => flagged,
                Err(Unanswered) if self.moderation.open => {
                    out.unanswered += 1;
                    false
                }
                Err(Unanswered) => return Err(Unanswered),
            };
            let from = question.char_indices().rev().nth(OVERLAP - 1).map_or(0, |(i, _)| i);
            self.context = question[from..].to_owned();
            out.found += usize::from(flagged);
            out.stopped = flagged && self.stops;
            if !out.stopped {
                out.text.push_str(&part);
            }
        }
        Ok(out)
    }

    /// The first `most` characters of what is held.
    fn take(&mut self, most: usize) -> String {
        let end = self.held.char_indices().nth(most).map_or(self.held.len(), |(i, _)| i);
        self.count -= most.min(self.count);
        self.held.drain(..end).collect()
    }
}
