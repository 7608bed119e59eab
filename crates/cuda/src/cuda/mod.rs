//! The kernels on a GPU. Everything here only queues work; errors of the work itself come with a later call.
//!
//! The one unsafe code of this crate: launches, and memory that a kernel writes before anybody reads it.
#![allow(unsafe_code)]

mod attention;
mod axpy;
mod choose;
mod fold;
mod lane;
mod rows;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaView, LaunchConfig};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, bail};

pub(crate) use attention::{mix, scores, store};
pub(crate) use axpy::axpy;
pub(crate) use choose::choose;
pub(crate) use fold::fold;
pub(crate) use lane::lanes;
pub(crate) use rows::{feed, gate};

/// Kernels of kernels/, compiled by build.rs.
struct Module {
    name: &'static str,
    ptx: &'static str,
}

const SOUP: Module = Module { name: "tureen_soup", ptx: include_str!(concat!(env!("OUT_DIR"), "/soup.ptx")) };
const CHOOSE: Module = Module { name: "tureen_choose", ptx: include_str!(concat!(env!("OUT_DIR"), "/choose.ptx")) };
const THREADS: u32 = 256;
/// More blocks than any GPU runs at once: the kernels go round where there are more values than threads.
const BLOCKS: usize = 4096;

/// A tensor and how it lies.
type Operand<'a> = (&'a CudaStorage, &'a Layout);

fn kernel(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    kernel_of(&SOUP, device, name)
}

fn kernel_of(module: &Module, device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, module.name, module.ptx)?.into_cuda_function())
}

fn view<'a, T: CudaDType>((storage, layout): Operand<'a>) -> Result<CudaView<'a, T>> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("the tensor does not lie in one piece") };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// For `threads` of work.
fn grid(threads: usize) -> LaunchConfig {
    let blocks = threads.div_ceil(THREADS as usize).clamp(1, BLOCKS) as u32;
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// Whether a kernel reads and writes f32 rather than bf16.
fn wide<T>() -> i32 {
    i32::from(size_of::<T>() == size_of::<f32>())
}
