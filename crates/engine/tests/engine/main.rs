//! The engine from outside: tiny checkpoints and pools on disk, compared with a dense f64 model; and the real base
//! against golden logits.

// The helpers may fail as loudly as the tests they serve.
#![allow(clippy::unwrap_used)]

mod backend;
mod batch;
mod beside;
mod common;
mod device;
mod generate;
mod golden;
mod oracle;
mod precision;
mod prefix;
mod promotion;
mod reload;
mod room;
mod score;
mod shadow;
mod soups;
mod speculation;
