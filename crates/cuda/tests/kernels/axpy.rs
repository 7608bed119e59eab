//! Weighted sums.

use candle_core::{DType, Device, Tensor};
use half::bf16;
use tureen_cuda::{SOURCES, sum, toward};

use super::host::{as_bf16, as_f32, bytes, run};
use super::{BF16, error, random, random_bf16, tensor, values};

/// Sources of `length` values each, and weights that sum to one.
fn sources(count: usize, length: usize) -> (Vec<Vec<bf16>>, Vec<f32>) {
    let sources = (0..count).map(|k| random_bf16(10 + k as u64, length)).collect();
    let weights = random(3, count).iter().map(|w| w.abs() + 0.01).collect::<Vec<_>>();
    let total: f32 = weights.iter().sum();
    (sources, weights.iter().map(|w| w / total).collect())
}

fn terms<'a>(tensors: &'a [Tensor], weights: &[f32]) -> Vec<(&'a Tensor, f32)> {
    tensors.iter().zip(weights.iter().copied()).collect()
}

fn tensors(sources: &[Vec<bf16>]) -> Vec<Tensor> {
    sources.iter().map(|source| tensor(source, source.len())).collect()
}

#[test]
fn sums_are_those_of_an_oracle() {
    for count in [1, 2, 6, SOURCES] {
        let (sources, weights) = sources(count, 997);
        let tensors = tensors(&sources);
        let terms = terms(&tensors, &weights);
        let at = |k: usize, i: usize| f64::from(sources[k][i].to_f32());
        let plain = |i| (0..count).map(|k| f64::from(weights[k]) * at(k, i)).sum::<f64>();
        let anchored = |i| at(0, i) + (1..count).map(|k| f64::from(weights[k]) * (at(k, i) - at(0, i))).sum::<f64>();
        let expected = [(0..997).map(plain).collect::<Vec<_>>(), (0..997).map(anchored).collect()];
        for (dtype, bound) in [(DType::F32, 1e-6), (DType::BF16, BF16)] {
            assert!(error(&values(&sum(&terms, dtype).unwrap()), &expected[0]) <= bound, "{count} {dtype:?}");
            assert!(error(&values(&toward(&terms, dtype).unwrap()), &expected[1]) <= bound, "{count} {dtype:?}");
        }
    }
}

/// base + Σ_k w_k delta_k is a sum whose first weight is one.
#[test]
fn a_base_and_changes_are_a_sum() {
    let (sources, weights) = sources(4, 100);
    let tensors = tensors(&sources);
    let terms = terms(&tensors, &[1.0, weights[1], weights[2], weights[3]]);
    let expected: Vec<f64> = (0..100)
        .map(|i| {
            let delta = |k: usize| f64::from(weights[k]) * f64::from(sources[k][i].to_f32());
            f64::from(sources[0][i].to_f32()) + (1..4).map(delta).sum::<f64>()
        })
        .collect();
    assert!(error(&values(&sum(&terms, DType::F32).unwrap()), &expected) <= 1e-6);
}

#[test]
fn equal_tensors_give_exactly_that_tensor_and_one_alone_itself() {
    let mut source = random_bf16(1, 64);
    source[3] = bf16::NEG_ZERO;
    let (_, weights) = sources(6, 1);
    let equal: Vec<Tensor> = (0..6).map(|_| tensor(&source, 64)).collect();
    for count in [1, 6] {
        let mean = toward(&terms(&equal[..count], &weights), DType::BF16).unwrap();
        let bits = |values: &[bf16]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&mean.to_vec1::<bf16>().unwrap()), bits(&source));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (short, long) = (tensor(&random_bf16(1, 8), 8), tensor(&random_bf16(1, 9), 9));
    let many = vec![(&short, 0.1); SOURCES + 1];
    let float = Tensor::zeros(8, DType::F32, &Device::Cpu).unwrap();
    let integers = Tensor::zeros(8, DType::U32, &Device::Cpu).unwrap();
    let crooked = tensor(&random_bf16(1, 64), (8, 8));
    for terms in [
        vec![],
        many,
        vec![(&short, 0.5), (&long, 0.5)],
        vec![(&short, 0.5), (&float, 0.5)],
        vec![(&integers, 1.0)],
        vec![(&crooked.t().unwrap(), 1.0)],
    ] {
        sum(&terms, DType::F32).unwrap_err();
        toward(&terms, DType::F32).unwrap_err();
    }
    sum(&[(&short, 1.0)], DType::U8).unwrap_err();
}

/// Whole vectors, tails, no vector at all; aligned and crooked; bit for bit.
#[test]
fn the_kernel_computes_what_its_twin_does() {
    for (count, length, offset) in [(1, 8, 0), (2, 7, 0), (3, 33, 0), (6, 1000, 0), (6, 123, 2), (SOURCES, 257, 0)] {
        let (sources, weights) = sources(count, length);
        let tensors = tensors(&sources);
        let terms = terms(&tensors, &weights);
        let mut input: Vec<u8> = sources.iter().flat_map(|source| bytes(source)).collect();
        input.extend(bytes(&weights));
        for anchored in [false, true] {
            let twin = |dtype| if anchored { toward(&terms, dtype) } else { sum(&terms, dtype) }.unwrap();
            let run = |wide| run("axpy", &[count, anchored.into(), wide, length, offset], &input);
            assert_eq!(as_f32(&run(1)), values(&twin(DType::F32)), "{count} of {length}");
            assert_eq!(as_bf16(&run(0)), twin(DType::BF16).to_vec1::<bf16>().unwrap(), "{count} of {length}");
        }
    }
}

/// Zeros of both signs, infinities, what is no number, and ties: rounding is that of `half`.
#[test]
fn the_kernel_rounds_as_its_twin_does() {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 3e38, -3e38];
    let source: Vec<bf16> = special.into_iter().chain(random(5, 200)).map(bf16::from_f32).collect();
    let length = source.len();
    for weight in [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.5, 1e-3, -1.0] {
        let twin = sum(&[(&tensor(&source, length), weight)], DType::BF16).unwrap().to_vec1::<bf16>().unwrap();
        let out = as_bf16(&run("axpy", &[1, 0, 0, length, 0], &[bytes(&source), bytes(&[weight])].concat()));
        let bits = |values: &[bf16]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(&twin), "{weight}");
    }
}
