//! Results that were computed outside the graph, entered into it with a backward that is written down.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};

/// `result`, which was computed from `x` without a graph, as an operation on `x` whose backward is
/// `grad_x = backward(grad_result)`. Where nothing tracks `x` it stays as it is.
pub(super) fn graft<F>(x: &Tensor, result: Tensor, backward: F) -> Result<Tensor>
where
    F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    if x.track_op() { x.apply_op1(Graft::new(result, backward)) } else { Ok(result) }
}

/// [`graft`] for a result of three arguments.
pub(crate) fn graft3<F>([a, b, c]: [&Tensor; 3], result: Tensor, backward: F) -> Result<Tensor>
where
    F: Fn(&Tensor) -> Result<[Tensor; 3]> + Send + Sync + 'static,
{
    let tracked = a.track_op() || b.track_op() || c.track_op();
    if tracked { a.apply_op3(b, c, Graft::new(result, backward)) } else { Ok(result) }
}

struct Graft<F> {
    /// Taken by the forward: the graph holds the operation for as long as it lives.
    result: Mutex<Option<Tensor>>,
    backward: F,
}

impl<F> Graft<F> {
    const NAME: &'static str = "graft";

    fn new(result: Tensor, backward: F) -> Self {
        Self { result: Mutex::new(Some(result)), backward }
    }

    /// The result's elements as `pick` finds them, and its shape. They are copied: a tensor does not part with its storage.
    fn take<S: BackendStorage>(&self, pick: impl Fn(&Storage) -> Option<&S>) -> Result<(S, Shape)> {
        let Some(result) = self.result.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!("{}: a result is entered once", Self::NAME);
        };
        let (storage, layout) = result.storage_and_layout();
        let Some(storage) = pick(&storage) else { bail!("{}: a result of another device", Self::NAME) };
        // A copy that minds the layout, unlike that of a whole storage.
        Ok((storage.affine(layout, 1.0, 0.0)?, result.shape().clone()))
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.take(|storage| if let Storage::Cpu(storage) = storage { Some(storage) } else { None })
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.take(|storage| if let Storage::Cuda(storage) = storage { Some(storage) } else { None })
    }
}

impl<F: Fn(&Tensor) -> Result<Tensor>> CustomOp1 for Graft<F> {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(grad).map(Some)
    }
}

impl<F: Fn(&Tensor) -> Result<[Tensor; 3]>> CustomOp3 for Graft<F> {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = (self.backward)(grad)?;
        Ok((Some(a), Some(b), Some(c)))
    }
}
