//! `y = x W^T` with a frozen `W`, on the project's own kernels.

use std::fmt;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor, bail};
use tureen_kernels::{Compute, Isa, Panels, Precision, Product, Rows, Team, Term};

use super::slice;
use crate::ops::to_vec;

/// The kernels in f32 with as many threads as the global thread pool has.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn compute() -> Result<Arc<Compute>> {
    let team = Team::new(rayon::current_num_threads()).map_err(Error::wrap)?;
    Ok(Arc::new(Compute::new(Isa::detect(), team)))
}

/// A frozen matrix, packed for products with it and with its transpose.
pub(in crate::ops) struct Packed {
    /// (out, in)
    forward: Panels,
    /// (in, out)
    backward: Panels,
    compute: Arc<Compute>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} x {})", self.out(), self.input())
    }
}

impl Packed {
    /// Packs `weight` (out x in, f32).
    ///
    /// # Errors
    /// Another type or rank.
    pub(in crate::ops) fn new(compute: &Arc<Compute>, weight: &Tensor) -> Result<Arc<Self>> {
        let (out, input) = weight.dims2()?;
        let forward = Panels::pack(Precision::F32, out, input, &to_vec(weight)?);
        let backward = Panels::pack(Precision::F32, input, out, &to_vec(&weight.t()?)?);
        Ok(Arc::new(Self { forward, backward, compute: compute.clone() }))
    }

    pub(in crate::ops) fn out(&self) -> usize {
        self.forward.out()
    }

    pub(in crate::ops) fn input(&self) -> usize {
        self.forward.input()
    }

    /// `x W^T` of rows of `in` values that lie end to end.
    pub(super) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        self.product(&self.forward, x)
    }

    /// `y W` of rows of `out` values that lie end to end.
    pub(super) fn multiply_back(&self, y: &[f32]) -> Vec<f32> {
        self.product(&self.backward, y)
    }

    fn product(&self, panels: &Panels, x: &[f32]) -> Vec<f32> {
        let count = x.len() / panels.input();
        let mut rows = Rows::new(self.compute.isa(), Precision::F32, panels.input());
        rows.resize(count);
        self.compute.convert(x, &mut rows);
        let mut y = vec![0.0; count * panels.out()];
        let terms = [Term { x: rows.view(), w: panels, first: 0 }];
        self.compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
        y
    }
}

/// [`crate::ops::frozen_linear`].
///
/// # Errors
/// Shapes that do not fit, or an `x` that is not f32 on the CPU.
pub(in crate::ops) fn linear(x: &Tensor, weight: &Arc<Packed>) -> Result<Tensor> {
    x.apply_op1(FrozenLinear { weight: weight.clone() })
}

struct FrozenLinear {
    weight: Arc<Packed>,
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, input) = layout.shape().dims2()?;
        if input != self.weight.input() {
            bail!("frozen-linear: {input} inputs for a weight of {}", self.weight.input());
        }
        let y = self.weight.multiply(slice(storage, layout)?);
        Ok((CpuStorage::F32(y), (rows, self.weight.out()).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad_y: &Tensor) -> Result<Option<Tensor>> {
        let grad_x = self.weight.multiply_back(&to_vec(grad_y)?);
        Tensor::from_vec(grad_x, x.shape(), x.device()).map(Some)
    }
}
