//! Test fixture: writes real tiny checkpoints and pools to a folder, so that no test downloads one.
//!
//! Everything follows from seeds: the same [`Base`] always gives the same bytes. Failing to write panics, as a test wants.

mod base;
mod digest;
mod gguf;
mod hugging_face;
mod pool;
mod quantise;
mod random;
mod tensors;
mod vocabulary;

pub use base::{Architecture, Base, Written};
pub use gguf::GgufType;
pub use pool::{PolicySpec, Precision, write_pool};
