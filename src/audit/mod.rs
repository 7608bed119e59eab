//! The audit log: what was answered and refused, to whom, and by which soup; kept so that nobody can change it unseen.
//!
//! Segments of JSON lines (`segment.rs`) are chained by HMAC (`chain.rs`) and end at a signed checkpoint
//! (`checkpoint.rs`). One thread writes (`writer.rs`); `verify.rs` finds what was edited, removed, moved or cut.

mod chain;
mod checkpoint;
mod deciding;
mod draft;
mod log;
mod pending;
mod record;
mod segment;
mod undecided;
mod verify;
mod writer;

use std::io;

pub use chain::{Fingerprint, Keys};
pub use deciding::Deciding;
pub(crate) use draft::{Begun, prompt_text};
pub use log::{Log, LogOptions};
pub use pending::Pending;
pub(crate) use pending::add_token;
pub use record::{
    AnswerRecord, EngineRecord, Event, GenerationRecord, GuardRecord, ParametersRecord, Record, RefusalRecord,
    ReviewRecord, SoupRecord,
};
pub(crate) use undecided::{Request, Undecided};
pub use verify::{Report, Scope, verify};
pub use writer::Audit;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file could not be read or written.
    #[error("the audit log cannot be used: {0}")]
    Io(#[from] io::Error),
    /// Another process writes it.
    #[error("another process writes this audit log: give each server an [audit] dir of its own")]
    Locked,
    /// The key cannot be read, or is too short.
    #[error("[audit] key_file: {0}")]
    Key(String),
    /// Somebody changed it, or it was written with another key.
    #[error("the audit log is not as it was left: {0}; keep it as evidence, and set [audit] dir to a new folder")]
    Tampered(String),
}

fn tampered(what: impl Into<String>) -> AuditError {
    AuditError::Tampered(what.into())
}
