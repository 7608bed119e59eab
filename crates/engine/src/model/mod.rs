//! The decoder: one forward pass over rows of different sequences and different soups.

mod forward;
pub(crate) mod gate;
pub(crate) mod kv;
mod matrix;
mod rope;
pub(crate) mod weights;

pub(crate) use forward::{Batch, Group, Model, Row, Scratch};
pub(crate) use gate::{Gates, Mix};
pub(crate) use kv::KvCache;
pub(crate) use weights::Weights;
