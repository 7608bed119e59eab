//! Proximal policy optimisation (Schulman et al., arXiv 1707.06347) as TRL 0.7.1 arranges it for language models.
//!
//! The arithmetic here is plain f64 over vectors: the gradient of the loss with respect to each log-probability and
//! value is written down, and the graph of the model is entered only with those numbers.

mod adam;
mod advantage;
mod kl;
mod loss;
mod moments;

pub use adam::{Adam, AdamState};
pub use advantage::{gae, whiten};
pub use kl::AdaptiveKl;
pub use loss::{Clipping, Minibatch, Outcome, ppo_loss};
pub use moments::RunningMoments;
