//! Learning what somebody prefers from what they choose.
//!
//! The model (Bradley and Terry 1952, over the implicit rewards of policies): somebody with weights w on the simplex values
//! an answer y by `w · r(y)`, where `r_i(y) = log p_i(y|x) − log p_base(y|x)`, and prefers y to y' with probability
//! `σ(β w · d)`, `d = r(y) − r(y')`. What is known of w is a normal distribution on the plane Σ w = 1, cut to weights of
//! at least 0 and updated choice by choice; see [`Taste::learn`]. Exponentials are `libm`'s: the same state and choice give
//! the same bits on every machine.

mod belief;
mod choice;
mod half_line;
mod matrix;
mod simplex;
mod taste;

pub use belief::{Belief, Comparison};
pub use taste::{Learning, Taste};
