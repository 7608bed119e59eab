//! Requests to the judge: paced, repeated where that helps, bounded.

use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::{JudgeOptions, Usage};
use crate::error::TrainError;

/// Longest answer that is read, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest wait before a repetition.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    url: String,
    authorization: Option<HeaderValue>,
    interval: Duration,
    retries: u32,
    retry_wait: Duration,
    next: Instant,
    pub(super) usage: Usage,
}

/// Why one attempt failed.
enum Failure {
    /// Worth another attempt, after this long if the server said so.
    Passing { reason: String, after: Option<Duration> },
    /// It will fail again.
    Final(String),
}

impl Client {
    pub(super) fn new(options: &JudgeOptions) -> Result<Self, TrainError> {
        let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(format!("judge: {error}"));
        let url = format!("{}/chat/completions", options.endpoint.trim_end_matches('/'));
        reqwest::Url::parse(&url).map_err(|error| invalid(&format!("{url}: {error}")))?;
        let authorization = match &options.api_key_env {
            Some(name) => {
                let key = std::env::var(name).map_err(|_| invalid(&format!("the variable {name} is not set")))?;
                let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                    .map_err(|_| invalid(&format!("the variable {name} holds no key")))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let timeout = Duration::from_secs_f64(options.timeout_s);
        Ok(Self {
            http: reqwest::Client::builder().timeout(timeout).build().map_err(|error| invalid(&error))?,
            runtime: Builder::new_current_thread().enable_all().build().map_err(|error| invalid(&error))?,
            url,
            authorization,
            interval: Duration::from_secs_f64(60.0 / options.requests_per_minute),
            retries: options.retries,
            retry_wait: Duration::from_millis(options.retry_wait_ms),
            next: Instant::now(),
            usage: Usage::default(),
        })
    }

    /// The text that the judge answers `body` with.
    pub(super) fn ask(&mut self, body: &Value) -> Result<String, TrainError> {
        let mut attempt = 0;
        loop {
            sleep(self.next.saturating_duration_since(Instant::now()));
            self.next = Instant::now() + self.interval;
            self.usage.requests += 1;
            let failure = match self.runtime.block_on(self.attempt(body)) {
                Ok(completion) => {
                    self.usage.input += completion.usage.prompt_tokens;
                    self.usage.output += completion.usage.completion_tokens;
                    let first = completion.choices.into_iter().next();
                    return Ok(first.and_then(|choice| choice.message.content).unwrap_or_default());
                }
                Err(failure) => failure,
            };
            let (reason, after) = match failure {
                Failure::Passing { reason, after } if attempt < self.retries => (reason, after),
                Failure::Passing { reason, .. } | Failure::Final(reason) => {
                    return Err(TrainError::Invalid(format!("judge {}: {reason}", self.url)));
                }
            };
            let wait = after.unwrap_or_else(|| self.retry_wait.saturating_mul(1 << attempt.min(16))).min(MAX_WAIT);
            tracing::warn!(%reason, wait_ms = wait.as_millis() as u64, "the judge is asked again");
            sleep(wait);
            attempt += 1;
        }
    }

    async fn attempt(&self, body: &Value) -> Result<Completion, Failure> {
        let mut request = self.http.post(&self.url).json(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let passing = |error: reqwest::Error| Failure::Passing { reason: error.to_string(), after: None };
        let response = request.send().await.map_err(passing)?;
        let (status, after) = (response.status(), retry_after(&response));
        let text = read(response).await?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|error| Failure::Final(format!("no chat completion: {error}")));
        }
        let reason = format!("{status}: {}", text.chars().take(300).collect::<String>());
        let passes = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
        Err(if passes { Failure::Passing { reason, after } } else { Failure::Final(reason) })
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: f64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

async fn read(mut response: Response) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let passing = |error: reqwest::Error| Failure::Passing { reason: error.to_string(), after: None };
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BODY {
            return Err(Failure::Final(format!("an answer of over {MAX_BODY} bytes")));
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::Final("an answer that is no UTF-8".into()))
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<CompletionChoice>,
    #[serde(default)]
    usage: Tokens,
}

#[derive(Deserialize)]
struct CompletionChoice {
    message: Reply,
}

#[derive(Deserialize)]
struct Reply {
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
}
