//! The evaluation: its arithmetic against numbers worked out by hand, and the command on a tiny pool.

#![allow(clippy::unwrap_used)]

mod arithmetic;
mod command;
mod resume;
mod several;
#[path = "../annotate/stub.rs"]
#[allow(dead_code)]
mod stub;
