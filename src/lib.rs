//! Tureen serves *personalized soups*: one language model per preference, made on the spot from a pool of policies.
//!
//! This package is the server and the command line. The mathematics is in `tureen-soup`, inference in `tureen-engine`.
//!
//! - [`cli`], [`commands`], [`exit`]: what can be typed, and what comes of it
//! - [`config`]: `config.toml`, a file and the environment
//! - [`pull`], [`startup`], [`export`]: getting and opening the base and the pool, writing a merged model
//! - [`serve`], [`housekeeping`], [`lifecycle`], [`signals`]: from listening to gone
//! - [`router`], [`middleware`], [`routes`](router): HTTP; [`extract`] and [`wire`] are what comes in and goes out
//! - [`submit`], [`live`], [`order`], [`explain`]: one request on its way through the engine
//! - [`rollout`]: which of two revisions serves a request
//! - [`auth`], [`store`], [`profiles`], [`replicas`]: who may do what, and what is kept about people
//! - [`audit`]: what was answered, so that nobody can change it unseen
//! - [`guard`]: checks of prompts and answers
//! - [`learning`]: what users prefer, from what they choose
//! - [`problem`], [`refusals`](router), [`metrics`], [`telemetry`], [`request_id`]: what the outside learns

pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod explain;
pub mod export;
pub mod extract;
pub mod guard;
pub mod housekeeping;
pub mod learning;
pub mod lifecycle;
pub mod live;
pub mod metrics;
pub mod middleware;
pub mod order;
pub mod problem;
pub mod profiles;
pub mod pull;
mod refusals;
pub mod replicas;
pub mod request_id;
pub mod rollout;
pub mod router;
mod routes;
pub mod serve;
pub mod signals;
pub mod startup;
pub mod store;
pub mod submit;
pub mod telemetry;
pub mod tls;
pub mod wire;
