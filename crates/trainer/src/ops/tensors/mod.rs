//! The operations in candle's own, on whatever device of candle's their arguments are on.
//!
//! Each computes its result outside the graph and enters it with a backward of its own ([`graft`]), so that nothing in between
//! is kept and candle's fused operations can be used, which have no backward.

mod attention;
mod blocks;
mod heads;
mod linear;
mod logprob;
mod norm;
mod swiglu;

pub(super) use attention::{Prepared, attention};
pub(super) use linear::linear;
pub(super) use logprob::token_log_prob;
pub(super) use norm::rms_norm;
pub(super) use swiglu::swiglu;

use super::graft::{graft, graft3};
