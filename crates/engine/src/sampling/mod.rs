//! From logits to a token, and from tokens to text.

mod describe;
mod filter;
mod params;
mod sampler;
#[cfg(test)]
mod tests;
mod text;

pub use params::SamplingParams;
pub(crate) use sampler::{After, Choosing, Sampled, Sampler};
pub(crate) use text::{StopWatch, TextStream};
