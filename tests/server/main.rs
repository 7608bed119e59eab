//! Speaks real HTTP to a server in this process, and runs the real binary, on a tiny model of random weights.

// The helpers may fail as loudly as the tests they serve.
#![allow(clippy::unwrap_used)]

mod access;
mod audit;
mod audit_log;
mod binary;
mod canary;
mod cardinality;
mod chat;
mod common;
mod config;
mod crash;
mod document;
mod explain;
mod fixture;
mod generate;
mod guard;
mod guard_flow;
mod http;
mod keys;
mod leaks;
mod learning;
mod lifecycle;
mod moderation;
mod new_preference;
mod pairs;
mod pool;
mod process;
mod profiles;
mod random;
mod refusals;
mod replicas;
mod reviews;
mod rollout;
mod rules;
mod tls;
mod weights;
