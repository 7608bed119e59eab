//! Kernels for merging and serving soups on a GPU, over candle's tensors.
//!
//! | function | computes | on a GPU |
//! |---|---|---|
//! | [`sum`], [`toward`] | `Σ_k w_k x_k`; `x_0 + Σ_k w_k (x_k - x_0)` | `soup_axpy`: one pass, 16-byte reads |
//! | [`fold`] | `W + B A`, layers side by side | a copy and one strided-batched product of cuBLAS |
//! | [`Ranks::gate`] | `(x A*ᵀ) ∘ g`, what `B*ᵀ` is multiplied with | `soup_gate` |
//! | [`store`], [`attend`] | keys and values of decoding rows, and what they see of their sequences | `soup_store`, `soup_scores`, `soup_mix` |
//! | [`choose`] | the token after each row | `soup_choose` |
//! | [`feed`] | `silu(gate) ∘ up` of a packed projection | `soup_feed` |
//!
//! Tensors on the CPU take a twin with the same order of operations, which is how all of this is tested without a GPU: the
//! twins against an oracle in f64, and the text of the kernels, compiled as C, against the twins. With the feature `cuda`
//! tensors on a GPU take the kernels; without it there are no such tensors.

mod attention;
mod axpy;
mod choose;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod feed;
mod fold;
mod gate;
mod staging;
mod values;

pub use attention::{NOWHERE, attend, store};
pub use axpy::{SOURCES, sum, toward};
pub use choose::{Change, Choices, Chosen, Draw, Rule, Uploaded, VOCABULARY, choose};
pub use device::{DeviceError, Facts, open};
pub use feed::feed;
pub use fold::fold;
pub use gate::{Block, Ranks};
pub use staging::{Job, Staging};
