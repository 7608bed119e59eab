//! The decoder: one forward pass over rows of different sequences and different soups.

mod forward;
pub(crate) mod gate;
mod logits;
mod matrix;
mod product;
mod rope;
mod scratch;
pub(crate) mod weights;

pub(crate) use forward::{Batch, Group, Logits, Model, Row};
pub(crate) use gate::{Gates, Mix};
pub(crate) use scratch::Scratch;
pub(crate) use weights::{Layout, Source, Weights};
