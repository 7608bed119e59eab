//! The base model as the trainer runs it: frozen weights, trainable low-rank updates, packed minibatches.

mod adapter;
mod base;
mod checkpointing;
mod delta;
mod layer;
mod packing;

pub use adapter::LoraAdapter;
pub(crate) use base::TEMPLATE;
pub use base::{Base, Geometry, load_base, load_base_at};
pub use checkpointing::Checkpointing;
pub use delta::Delta;
pub use packing::Packing;
