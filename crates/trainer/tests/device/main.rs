//! What runs on a GPU, on candle's CPU device: against the kernels of the CPU, operation by operation and as a whole, and the
//! command line's option.

#![allow(clippy::unwrap_used)]

mod command;
mod model;
mod operations;
mod run;
#[path = "../support/mod.rs"]
mod support;
