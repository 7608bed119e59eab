//! Preferences, policies, pools and the mathematics of merging them.
//!
//! A [`Pool`] is a base's set of policies, read from a folder, checked byte for byte and immutable afterwards. A
//! [`Preference`] with [`MergeOptions`] picks a [`Soup`] out of it; [`merge`] gives the parameters of that soup. There
//! is no HTTP, no thread and no clock in this crate, and no model either: tensors are slices of `f32` with their
//! Hugging Face names.

pub mod adapter;
mod atomic;
mod bytes;
mod decode;
mod file;
mod full;
mod hash;
mod identity;
pub mod learn;
mod limits;
mod lora;
mod manifest;
pub mod merge;
mod method;
mod mmap;
mod options;
mod peft;
mod policy;
mod pool;
mod preference;
mod problem;
pub mod publish;
pub mod rules;
mod soup;
mod unique;

pub use full::FullPolicy;
pub use identity::{BaseFacts, BaseIdentity};
pub use lora::{LoraModule, LoraPolicy};
pub use method::{Method, UnknownMethod};
pub use options::{MergeOptions, Renormalize};
pub use policy::{Dimension, Policy, PolicyId, PolicyWeights};
pub use pool::{Pool, PoolOptions, Weights};
pub use preference::{Preference, PreferenceError, PreferencePatch};
pub use problem::{PoolError, PoolProblem};
pub use soup::{Revision, Soup, SoupId};
