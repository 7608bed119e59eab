//! Merging what lies on the device already.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor};
use serde_json::{Value, json};
use tureen_cuda::{fold, sum};

use crate::shape::Shape;

const POLICIES: usize = 6;
const RANK: usize = 16;
/// Bytes of a value.
const BF16: usize = 2;

/// The quickest of a few rounds, after one that compiles and allocates.
fn quickest(device: &Device, mut round: impl FnMut() -> Result<()>) -> Result<Duration> {
    round()?;
    device.synchronize()?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        round()?;
        device.synchronize()?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

fn random(shape: impl Into<candle_core::Shape>, device: &Device) -> Result<Tensor> {
    Tensor::rand(-1_f32, 1.0, shape, device)?.to_dtype(DType::BF16)
}

/// Bytes per second of a copy from the device to itself, read and written: what everything is measured against.
pub(crate) fn copy(device: &Device, shape: Shape) -> Result<f64> {
    let from = random(shape.layer_values(), device)?;
    let time = quickest(device, || from.copy().map(drop))?;
    Ok((2 * BF16 * shape.layer_values()) as f64 / time.as_secs_f64())
}

/// A soup of full-weight policies: `Σ_k w_k theta_k` of everything. One layer's tensors stand for those of all layers: far
/// more than a cache holds, so that each is read anew.
pub(crate) fn full(device: &Device, shape: Shape, copied: f64) -> Result<Value> {
    let policies = (0..POLICIES).map(|_| random(shape.layer_values(), device)).collect::<Result<Vec<_>>>()?;
    let terms: Vec<(&Tensor, f32)> = policies.iter().map(|policy| (policy, 1.0 / POLICIES as f32)).collect();
    let layers = quickest(device, || (0..shape.layers).try_for_each(|_| sum(&terms, DType::BF16).map(drop)))?;
    let bytes = (POLICIES + 1) * BF16 * shape.layer_values() * shape.layers;
    let achieved = bytes as f64 / layers.as_secs_f64();
    // Embedding and head, whose shares are read at the same rate.
    let tables = (POLICIES + 1) * BF16 * 2 * shape.vocabulary * shape.hidden;
    Ok(json!({
        "policies": POLICIES,
        "layers_ms": layers.as_secs_f64() * 1e3,
        "model_ms": (bytes + tables) as f64 / achieved * 1e3,
        "bytes_per_s": achieved,
        "over_copy": achieved / copied,
    }))
}

/// A soup of LoRA policies on all linear layers: `W + Σ_k w_k s_k B_k A_k`, those of one shape in one product.
pub(crate) fn lora(device: &Device, shape: Shape) -> Result<Value> {
    let rank = POLICIES * RANK;
    let layer = |(count, [out, input]): (usize, [usize; 2])| {
        let b = random((count, out, rank), device)?;
        Ok([random((count, out, input), device)?, b, random((count, rank, input), device)?])
    };
    let linears = shape.linears().into_iter().map(layer).collect::<Result<Vec<[Tensor; 3]>>>()?;
    let fold_layer = || linears.iter().try_for_each(|[w, b, a]| fold(w, b, a).map(drop));
    let time = quickest(device, || (0..shape.layers).try_for_each(|_| fold_layer()))?;
    let bytes = 2 * BF16 * shape.layer_values() * shape.layers;
    Ok(json!({
        "policies": POLICIES,
        "rank": RANK,
        "model_ms": time.as_secs_f64() * 1e3,
        // Weights read once and written once; what the copy in front of the product costs is in the time.
        "bytes_per_s": bytes as f64 / time.as_secs_f64(),
    }))
}
