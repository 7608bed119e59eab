//! From logits to a token, and from tokens to text.

mod filter;
mod params;
mod sampler;
mod text;

pub use params::SamplingParams;
pub(crate) use sampler::{Choosing, Sampled, Sampler};
pub(crate) use text::{StopWatch, TextStream};
