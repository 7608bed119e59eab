//! Keys and values: pages of 16 positions, the sequences that hold them, and the prefixes kept for prompts to come.
//!
//! ```text
//! sequence        [full][full][full][own]      full pages are immutable and may be shared: Arc<LeasedPage>
//!                    │     │                   the last, partial page is the sequence's own
//! PrefixCache     root ─ block ─ block ─ ...   by soup, path and tokens; the least recently used goes first
//! PagePool        [free][free]                 pages that go from hand to hand, allocated a few at a time
//! ```
//!
//! Invariant: a page lives under a [`Lease`](crate::budget::Lease) from its allocation to its end, whoever holds it.

mod pool;
mod prefix;
mod reserve;
mod sequence;
mod store;

pub(crate) use prefix::PrefixKey;
pub(crate) use sequence::SequenceCache;
pub(crate) use store::Kv;

#[cfg(test)]
mod tests;
