//! Compute kernels for serving soups on a CPU.
//!
//! One layout serves weights, keys and values: a *panel* of sixteen outputs, made of *lines* of 64 bytes ([`Panels`] has
//! the drawing). One source serves all instruction sets: kernels are written over the trait `Simd` and compiled once for
//! each [`Isa`], which is chosen at run time. [`Compute`] runs them on a [`Team`] of threads.
//!
//! Invariant: a row's bits depend on that row alone. Every sum is one chain in an order that depends on nothing but its
//! length: not on the batch, the chunk, the thread, or the neighbours.

#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod cache;
mod ceiling;
mod compute;
mod feed;
mod fold;
mod isa;
mod likelihood;
mod line;
mod math;
mod norm;
mod pack;
mod page;
mod panels;
mod precision;
mod product;
mod rows;
mod simd;
mod store;
mod strip;
mod target;
mod team;
mod tile;

#[cfg(test)]
mod tests;

pub use cache::{CacheBatch, CacheBuffers, PageRef};
pub use compute::Compute;
pub use fold::Change;
pub use isa::Isa;
pub use likelihood::Likelihood;
pub use norm::ChangeRow;
pub use page::{PAGE, Page, PageShape};
pub use panels::Panels;
pub use precision::{GROUP, Precision};
pub use product::{Converted, Product};
pub use rows::{Rows, RowsView};
pub use store::Rotation;
pub use strip::Term;
pub use team::Team;
