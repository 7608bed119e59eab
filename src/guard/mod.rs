//! Guardrails: checks of prompts and answers, in the order of the configuration.
//!
//! Every check is a stage that text flows through ([`Flow`]): it holds back what could still become a match and passes on
//! the rest, so a text checked in pieces is the text checked at once. Matching is on normalised text (`normal.rs`), what
//! leaves is the original. `input.rs` is the side of prompts, `screen.rs` that of answers, `hold.rs` keeps what a person decides about.

mod build;
mod chain;
mod flow;
mod hold;
mod input;
mod lists;
mod moderation;
mod normal;
mod pattern;
mod pii;
mod raw;
mod scan;
mod screen;
mod words;

pub(crate) use build::build;
pub use chain::{Chain, Side};
pub use flow::{Decision, Flow, Unavailable};
pub(crate) use hold::Holder;
pub(crate) use input::check_input;
pub(crate) use raw::RawCheck;
pub(crate) use screen::{Outcome, Screen};
