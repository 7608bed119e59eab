//! The shapes on the wire: what clients send and get, apart from what the server makes of it.

pub mod answer;
pub mod chat;
pub mod completion;
pub mod explanation;
pub mod feedback;
pub mod generate;
pub mod lorax;
pub mod merge;
pub mod parameters;
pub mod policies;
pub mod problem;
pub mod profile;
pub mod review;
pub mod rollout;
