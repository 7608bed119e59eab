//! The kernels against their twins, on the machine that they are measured on.

use candle_core::{DType, Device, Result, Tensor};
use serde_json::{Value, json};
use tureen_cuda::{Block, Job, NOWHERE, Ranks, Staging, attend, choose, feed, fold, store, sum, toward};

use crate::choosing;

/// Half a unit in the last place of bf16, over the largest value.
const ROUNDING: f32 = 1.0 / 256.0;

/// For each kernel, the largest difference from its twin over the largest value, and whether all are as small as they have
/// to be: sums, gates and tokens to the bit, what cuBLAS and another exponential take part in to a rounding.
pub(crate) fn run(device: &Device) -> Result<Value> {
    let checks = [
        ("soup_axpy", axpy(device)?, 0.0),
        ("soup_axpy_staged", staged(device)?, 0.0),
        ("soup_gate", gate(device)?, 0.0),
        ("soup_feed", fed(device)?, ROUNDING),
        ("soup_attend", attended(device)?, ROUNDING),
        ("soup_choose", chosen(device)?, 0.0),
        ("lora_fold", folded(device)?, ROUNDING),
    ];
    let passed = checks.iter().all(|(_, difference, allowed)| difference <= allowed);
    let differences: serde_json::Map<_, _> =
        checks.into_iter().map(|(name, difference, _)| (name.to_owned(), json!(difference))).collect();
    Ok(json!({"passed": passed, "differences": differences}))
}

/// The same values on the CPU and on the device.
fn random(shape: &[usize], device: &Device) -> Result<[Tensor; 2]> {
    let here = Tensor::rand(-1_f32, 1.0, shape, &Device::Cpu)?.to_dtype(DType::BF16)?;
    Ok([here.clone(), here.to_device(device)?])
}

/// The largest difference over the largest value; infinite where one of them is no number.
fn difference(ours: &Tensor, twin: &Tensor) -> Result<f32> {
    let values =
        |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let (ours, twin) = (values(ours)?, values(twin)?);
    let largest = twin.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let most = ours
        .iter()
        .zip(&twin)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, |most: f32, x| if x.is_nan() { f32::INFINITY } else { most.max(x) });
    Ok(if ours.len() == twin.len() { most / largest } else { f32::INFINITY })
}

fn axpy(device: &Device) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (count, length) in [(1, 8), (2, 7), (6, 1_000_003), (32, 4096)] {
        let sources = (0..count).map(|_| random(&[length], device)).collect::<Result<Vec<_>>>()?;
        let of = |place: usize| -> Vec<(&Tensor, f32)> {
            sources.iter().enumerate().map(|(k, pair)| (&pair[place], 1.0 / (k + 1) as f32)).collect()
        };
        for dtype in [DType::BF16, DType::F32] {
            worst = worst.max(difference(&sum(&of(1), dtype)?, &sum(&of(0), dtype)?)?);
            worst = worst.max(difference(&toward(&of(1), dtype)?, &toward(&of(0), dtype)?)?);
        }
    }
    Ok(worst)
}

/// A tensor that goes round the lanes several times, and ends in the middle of a vector.
fn staged(device: &Device) -> Result<f32> {
    let (length, weights) = (300_003, [0.0, 0.3, 0.5]);
    let sources = (0..3).map(|_| random(&[length], &Device::Cpu)).collect::<Result<Vec<_>>>()?;
    let values = sources.iter().map(|[here, _]| here.to_vec1::<half::bf16>()).collect::<Result<Vec<_>>>()?;
    let job = Job { weights: &weights, toward: true, length };
    let summed = Staging::new(device, 64 << 10)?.sum(&job, |range, to| {
        to.into_iter().zip(&values).for_each(|(to, from)| to.copy_from_slice(&from[range.clone()]));
        Ok::<_, candle_core::Error>(())
    })?;
    let terms: Vec<(&Tensor, f32)> = sources.iter().map(|[here, _]| here).zip(weights).collect();
    difference(&Tensor::from_vec(summed, length, &Device::Cpu)?, &toward(&terms, DType::F32)?)
}

fn gate(device: &Device) -> Result<f32> {
    let (rows, policies) = (37, 3);
    let block = |part, policy, ranks| Block { part, policy, ranks };
    let blocks =
        [block(0, 0, 0..16), block(0, 1, 16..24), block(0, 2, 24..40), block(1, 0, 40..56), block(1, 2, 56..60)];
    let mixes: Vec<f32> =
        (0..rows).flat_map(|row| [0.5, row as f32 / 37.0, 0.0, 1.0 + row as f32 / 10.0, (row % 2) as f32]).collect();
    let [here, there] = random(&[rows, 60], device)?;
    let gated = |z: &Tensor, device: &Device| {
        let mixes = Tensor::from_slice(&mixes, (rows, policies + 2), device)?;
        Ranks::new(&blocks, policies, device)?.gate(z, &mixes)
    };
    difference(&gated(&there, device)?, &gated(&here, &Device::Cpu)?)
}

fn fed(device: &Device) -> Result<f32> {
    let [here, there] = random(&[19, 2 * 333], device)?;
    difference(&feed(&there)?, &feed(&here)?)
}

/// Keys and values that are stored on the device, and attended to there.
fn attended(device: &Device) -> Result<f32> {
    let (queries, heads, rows, context, dim, places) = (8, 2, 5, 40, 64, 640);
    let table: Vec<u32> = (0..rows * context)
        .map(|at| if at % context < 7 * (at / context) + 5 { (at * 37 % places) as u32 } else { NOWHERE })
        .collect();
    let slots: Vec<u32> = (0..rows as u32).map(|row| row * 111 + 3).collect();
    let (q, x) = (random(&[queries, rows, dim], device)?, random(&[heads, rows, dim], device)?);
    let (keys, values) = (random(&[heads, places, dim], device)?, random(&[heads, places, dim], device)?);
    let devices = [Device::Cpu, device.clone()];
    let mixed = devices.iter().enumerate().map(|(place, device)| {
        let slots = Tensor::from_slice(&slots, rows, device)?;
        let table = Tensor::from_slice(&table, (rows, context), device)?;
        store(&keys[place], &x[place], &slots)?;
        store(&values[place], &x[place], &slots)?;
        attend(&q[place], [&keys[place], &values[place]], &table, 0.125)
    });
    let mixed = mixed.collect::<Result<Vec<_>>>()?;
    difference(&mixed[1], &mixed[0])
}

/// The share of rows after which another token is chosen, or another log-probability told.
fn chosen(device: &Device) -> Result<f32> {
    let (rows, mut differ) = (48, 0);
    for vocabulary in [320, 32_000, 151_936] {
        // As wide as a model's.
        let logits = (Tensor::rand(-1_f32, 1.0, (rows, vocabulary), &Device::Cpu)? * 12.0)?;
        let logits = (logits.sqr()? * 0.1)?.to_dtype(DType::BF16)?;
        let choices = choosing::choices(rows, vocabulary);
        let ours = choose(&logits.to_device(device)?, &choices.upload(device)?)?;
        let twin = choose(&logits, &choices.upload(&Device::Cpu)?)?;
        differ += ours.iter().zip(&twin).filter(|(ours, twin)| ours != twin).count();
    }
    Ok(differ as f32 / (3 * rows) as f32)
}

fn folded(device: &Device) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (layers, out, input, rank) in [(1, 128, 96, 8), (3, 257, 130, 24)] {
        let w = random(&[layers, out, input], device)?;
        let (b, a) = (random(&[layers, out, rank], device)?, random(&[layers, rank, input], device)?);
        let [here, there] = [0, 1].map(|place| fold(&w[place], &b[place], &a[place]));
        worst = worst.max(difference(&there?, &here?)?);
    }
    Ok(worst)
}
