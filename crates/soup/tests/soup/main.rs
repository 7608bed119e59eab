//! Tests of the soup crate, one module per concern. They see what users of the crate see.
#![allow(clippy::unwrap_used)]

mod adapter;
mod average;
mod base;
mod configs;
mod corrupt;
mod exact;
mod files;
mod fixture;
mod full;
mod gram;
mod learn;
mod manifest;
mod methods;
mod oracle;
mod peft;
mod picollama;
mod preference;
mod properties;
mod publish;
mod resolve;
mod rules;
mod tensors;
mod traps;
