//! Materialised soups: merged once, kept while there is room, shared by all who want them.

mod accelerator;
mod backend;
mod cache;
mod cell;
mod merger;
mod merging;

pub(crate) use accelerator::Accelerator;
pub use backend::SoupBackend;
pub(crate) use cache::{Heat, SoupCache};
pub(crate) use cell::{SoupCell, State};
pub(crate) use merger::{Materials, Merger};
