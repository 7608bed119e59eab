//! The record of an answer that is being made.

use std::sync::Arc;

use super::chain::Fingerprint;
use super::writer::{Place, Written};
use super::{Audit, Event, GenerationRecord, GuardRecord};
use crate::guard::Decision;
use crate::problem::ApiError;

/// A record in the making. Dropped before the end, it is left as one whose client went away.
pub struct Pending {
    audit: Arc<Audit>,
    open: Option<Open>,
}

struct Open {
    place: Place,
    record: Box<GenerationRecord>,
    tokens: Fingerprint,
    text: Fingerprint,
    whole: String,
}

impl Pending {
    /// Will leave `record` in its place. `prompt` is the messages as JSON.
    pub(super) fn begin(audit: &Arc<Audit>, place: Place, mut record: GenerationRecord, prompt: String) -> Self {
        record.prompt_fingerprint = audit.keys().fingerprint(prompt.as_bytes());
        record.prompt = audit.has_text().then_some(prompt);
        let fingerprint = || audit.keys().begin_fingerprint();
        let (tokens, text) = (fingerprint(), fingerprint());
        let open = Open { place, record: Box::new(record), tokens, text, whole: String::new() };
        Self { audit: audit.clone(), open: Some(open) }
    }

    /// A token came.
    pub fn token(&mut self, id: u32, logprob: f32, text: &str) {
        let keeps = self.audit.has_text();
        if let Some(open) = &mut self.open {
            open.record.answer.tokens += 1;
            add_token(&mut open.tokens, id, logprob);
            open.say(text, keeps);
        }
    }

    /// `sent` is what left of the answer behind the checks that made these decisions.
    pub(crate) fn screened(&mut self, decisions: &[Decision], sent: &str) {
        if let Some(open) = &mut self.open {
            open.record.guard.extend(decisions.iter().map(GuardRecord::from));
            open.record.answer.sent_fingerprint = Some(self.audit.keys().fingerprint(sent.as_bytes()));
        }
    }

    /// The answer ended as `end` says, with `tail` as its last text.
    ///
    /// # Errors
    /// 503 when it could not be written and the configuration says that answers wait for it.
    pub async fn end(mut self, end: &str, tail: &str) -> Result<(), ApiError> {
        let Some(written) = self.leave(end, tail) else { return Ok(()) };
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(ApiError::busy("audit_unavailable", "the answer could not be recorded, so it is withheld", 1)),
        }
    }

    fn leave(&mut self, end: &str, tail: &str) -> Option<Written> {
        let keeps = self.audit.has_text();
        let mut open = self.open.take()?;
        open.say(tail, keeps);
        let Open { place, mut record, tokens, text, whole } = open;
        record.answer.end = end.to_owned();
        record.answer.tokens_fingerprint = tokens.finish();
        record.answer.text_fingerprint = text.finish();
        record.text = keeps.then_some(whole);
        self.audit.leave(place, Event::Generation(record))
    }
}

impl Open {
    fn say(&mut self, text: &str, keeps: bool) {
        self.text.add(text.as_bytes());
        if keeps {
            self.whole.push_str(text);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Nobody waits any more.
        let _ = self.leave("left", "");
    }
}

/// Id and every bit of the log-probability.
pub(crate) fn add_token(fingerprint: &mut Fingerprint, id: u32, logprob: f32) {
    fingerprint.add(&id.to_le_bytes());
    fingerprint.add(&logprob.to_bits().to_le_bytes());
}
