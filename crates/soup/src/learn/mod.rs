//! Learning what somebody prefers from what they choose.
//!
//! The model (Bradley and Terry 1952, over the implicit rewards of policies): somebody with weights w on the simplex values
//! an answer y by `w · r(y)`, where `r_i(y) = log p_i(y|x) − log p_base(y|x)`, and prefers y to y' with probability
//! `σ(β w · d)`, `d = r(y) − r(y')`. What is known of w is a normal distribution on the plane Σ w = 1, updated choice by
//! choice with Laplace's approximation; see [`Taste::learn`].

mod quadratic;
mod taste;

pub use taste::{Learning, Taste};
