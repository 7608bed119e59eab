//! What `/v1/chat/completions` answers, whole and in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use tureen_engine::FinishReason;

use super::answer::{SoupView, Token};
use super::review::ReviewLink;
use crate::live::{Finished, Reason};
use crate::request_id::RequestId;

/// A `chat.completion`, with `soup` added.
#[derive(Debug, Serialize)]
pub struct Completion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: [Value; 1],
    usage: Value,
    soup: SoupView,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<ReviewLink>,
}

/// What all chunks of one answer share.
pub struct Frame {
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
    include_usage: bool,
}

impl Frame {
    /// The frame of the answer to request `id`.
    pub fn new(id: &RequestId, model: String, logprobs: bool, include_usage: bool) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self { id: format!("chatcmpl-{}", id.as_str()), created, model, logprobs, include_usage }
    }

    /// The whole answer.
    pub fn completion(self, mut finished: Finished, tokens: &[Token], soup: SoupView) -> Completion {
        let usage = usage(&finished);
        let choice = json!({
            "index": 0,
            "message": {"role": "assistant", "content": finished.text, "refusal": null},
            "logprobs": self.logprobs(tokens),
            "finish_reason": reason(finished.reason),
        });
        let Self { id, created, model, .. } = self;
        let review = finished.review.take().map(ReviewLink::new);
        Completion { id, object: "chat.completion", created, model, choices: [choice], usage, soup, review }
    }

    /// The first chunk: whose turn it is.
    pub fn opening(&self) -> Value {
        self.chunk(json!({"role": "assistant", "content": ""}), Value::Null, Value::Null)
    }

    /// One token's chunk.
    pub fn token(&self, token: &Token) -> Value {
        self.chunk(json!({"content": token.text}), self.logprobs(std::slice::from_ref(token)), Value::Null)
    }

    /// The last chunk, and the usage if it was asked for.
    pub fn closing(&self, finished: &Finished, soup: &SoupView) -> Vec<Value> {
        let delta = if finished.tail.is_empty() { json!({}) } else { json!({"content": finished.tail}) };
        let mut last = self.chunk(delta, Value::Null, json!(reason(finished.reason)));
        last["soup"] = json!(soup);
        if let Some(id) = &finished.review {
            last["review"] = json!(ReviewLink::new(id.clone()));
        }
        if !self.include_usage {
            return vec![last];
        }
        let mut counts = self.chunk(Value::Null, Value::Null, Value::Null);
        counts["choices"] = json!([]);
        counts["usage"] = usage(finished);
        vec![last, counts]
    }

    fn chunk(&self, delta: Value, logprobs: Value, finish_reason: Value) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}],
        });
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn logprobs(&self, tokens: &[Token]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let entry =
            |t: &Token| json!({"token": t.text, "logprob": t.logprob, "bytes": t.text.as_bytes(), "top_logprobs": []});
        // Text that a check redacted has none.
        let known = tokens.iter().filter(|token| token.logprob.is_some());
        json!({"content": known.map(entry).collect::<Vec<_>>(), "refusal": null})
    }
}

fn usage(finished: &Finished) -> Value {
    let (prompt, answer) = (finished.details.prompt_tokens, finished.details.generated_tokens);
    json!({"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer})
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Engine(FinishReason::Length) => "length",
        Reason::Engine(FinishReason::EosToken | FinishReason::StopSequence) => "stop",
        // The interface has no word for what a person decides about; `review` tells.
        Reason::ContentFilter | Reason::Held => "content_filter",
    }
}
