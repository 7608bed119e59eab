//! The offline trainer: one small PPO policy per preference, published into a pool.
//!
//! A run samples responses from base + adapter, scores them with a rule, and moves the adapter by PPO with a KL penalty to
//! the base. The base is frozen: its weights sit inside custom operations that return gradients of activations only.

pub mod annotate;
pub mod answering;
pub mod baseline;
pub mod choice;
mod clock;
pub mod commands;
pub mod config;
pub mod error;
pub mod evaluation;
pub mod generator;
pub mod heldout;
mod imitation;
mod journal;
pub mod metrics;
pub mod model;
pub mod ops;
pub mod pairs;
mod place;
pub mod plot;
pub mod ppo;
mod preferences;
pub mod prompts;
mod publishing;
mod records;
mod report;
pub mod reward;
pub mod reward_model;
mod rollout;
pub mod sequence;
mod session;
mod state;
mod update;
mod value;
mod warm_start;

pub use place::Place;
pub use session::Session;
