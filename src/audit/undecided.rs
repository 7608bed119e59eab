//! A request before its answer begins: what rules and checks decide about it is recorded, whatever becomes of it.

use std::sync::Arc;

use tureen_soup::{Pool, Soup};

use super::writer::{Place, Written};
use super::{Audit, Begun, Event, GuardRecord, Keys, Pending, RefusalRecord, SoupRecord};
use crate::auth::Caller;
use crate::guard::Decision;
use crate::order::Wish;
use crate::problem::ApiError;
use crate::request_id::RequestId;

/// A request for a soup that the pool has.
pub(crate) struct Request<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) caller: &'a Caller,
    pub(crate) wish: &'a Wish,
    pub(crate) pool: &'a Pool,
    pub(crate) asked: &'a Soup,
}

/// Holds room for the request's one record. Dropped when something was decided, it leaves that as of a client that went
/// away; when nothing was, it leaves nothing.
pub(crate) struct Undecided {
    audit: Arc<Audit>,
    open: Option<(Place, Box<RefusalRecord>)>,
}

impl Undecided {
    /// Takes room for a record.
    ///
    /// # Errors
    /// 503 when the log cannot be written: nothing is decided that would not be recorded.
    pub(crate) fn begin(audit: &Arc<Audit>, request: &Request<'_>) -> Result<Self, ApiError> {
        let place = audit.place()?;
        let record = request.record(audit.keys());
        Ok(Self { audit: audit.clone(), open: Some((place, Box::new(record))) })
    }

    /// These rules are not kept.
    pub(crate) fn ruled(&mut self, codes: &[&'static str]) {
        if let Some((_, record)) = &mut self.open {
            record.rules.extend(codes.iter().map(|code| (*code).to_owned()));
        }
    }

    /// Checks of the prompt decided this.
    pub(crate) fn checked(&mut self, decisions: &[Decision]) {
        if let Some((_, record)) = &mut self.open {
            record.guard.extend(decisions.iter().map(GuardRecord::from));
        }
    }

    /// There is no answer, because of `error`.
    ///
    /// # Errors
    /// 503 when what was decided could not be written and the configuration says that answers wait for it.
    pub(crate) async fn refuse(mut self, error: &ApiError) -> Result<(), ApiError> {
        if let Some((_, record)) = &mut self.open {
            record.review = error.review.as_deref().map(str::to_owned);
        }
        let Some(written) = self.leave(error.code) else { return Ok(()) };
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(ApiError::busy("audit_unavailable", "what was decided could not be recorded: send it again", 1)),
        }
    }

    /// The answer begins; its record holds what was decided. `prompt` is the messages as JSON.
    pub(crate) fn pass(mut self, begun: Begun<'_>, prompt: String) -> Pending {
        let (place, decided) = self.open.take().expect("it is there until this, or a refusal, takes it with itself");
        Pending::begin(&self.audit, place, begun.record(*decided), prompt)
    }

    fn leave(&mut self, code: &str) -> Option<Written> {
        let (place, mut record) = self.open.take()?;
        let decided = !record.rules.is_empty() || !record.guard.is_empty();
        record.code = code.to_owned();
        decided.then(|| self.audit.leave(place, Event::Refusal(record))).flatten()
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        // Nobody waits any more.
        let _ = self.leave("left");
    }
}

impl Request<'_> {
    fn record(&self, keys: &Keys) -> RefusalRecord {
        let Self { id, caller, wish, pool, asked } = self;
        let user = match wish {
            Wish::Inline { .. } => None,
            Wish::Profile { user, .. } => Some(keys.pseudonym(caller.owner(), user.as_str())),
        };
        RefusalRecord {
            request: id.as_str().to_owned(),
            key: caller.key().map(str::to_owned),
            user,
            revision: pool.revision().to_string(),
            asked: SoupRecord::new(pool, asked),
            rules: Vec::new(),
            guard: Vec::new(),
            code: String::new(),
            review: None,
        }
    }
}
