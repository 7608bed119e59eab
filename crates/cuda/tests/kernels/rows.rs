//! What is done row by row: the gate, and the feed-forward network's inside.

use candle_core::{DType, Device, Tensor};
use half::bf16;
use tureen_cuda::{Block, Ranks, feed};

use super::host::{Bytes, as_bf16, as_f32, bytes, run};
use super::{BF16, error, random, random_bf16, tensor, values};

const POLICIES: usize = 3;
const ROWS: usize = 5;

/// Two layers; policy 1 leaves the second one alone, and ranks differ.
fn blocks() -> Vec<Block> {
    let ranks = [(0, 0, 3), (0, 1, 2), (0, 2, 4), (1, 0, 1), (1, 2, 2)];
    let mut start = 0;
    let block = |(part, policy, rank)| {
        let ranks = start..start + rank;
        start = ranks.end;
        Block { part, policy, ranks }
    };
    ranks.into_iter().map(block).collect()
}

/// Weights, strength, and whether factors are averaged; one row is the base.
fn mixes() -> Vec<f32> {
    [
        [0.5, 0.3, 0.2, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 0.0, 0.5, 1.5, 1.0],
        [0.0, 1.0, 0.0, 2.0, 0.0],
        [0.2, 0.3, 0.5, 1.0, 1.0],
    ]
    .concat()
}

/// The gate as the design has it, in f64: section 3.
fn oracle(z: &[f32]) -> Vec<f64> {
    let (blocks, mixes) = (blocks(), mixes());
    let width = blocks.last().unwrap().ranks.end;
    let mut u = vec![0.0; z.len()];
    for row in 0..ROWS {
        let mix: Vec<f64> = mixes[row * (POLICIES + 2)..][..POLICIES + 2].iter().map(|x| f64::from(*x)).collect();
        let z: Vec<f64> = z[row * width..][..width].iter().map(|x| f64::from(*x)).collect();
        for block in &blocks {
            for (rank, column) in block.ranks.clone().enumerate() {
                let same = blocks.iter().filter(|b| b.part == block.part && rank < b.ranks.len());
                let mean = || same.map(|b| mix[b.policy] * z[b.ranks.start + rank]).sum::<f64>();
                let value = if mix[POLICIES + 1] == 0.0 { z[column] } else { mean() };
                u[row * width + column] = mix[block.policy] * mix[POLICIES] * value;
            }
        }
    }
    u
}

fn gated(z: &Tensor) -> Tensor {
    let ranks = Ranks::new(&blocks(), POLICIES, &Device::Cpu).unwrap();
    ranks.gate(z, &Tensor::from_vec(mixes(), (ROWS, POLICIES + 2), &Device::Cpu).unwrap()).unwrap()
}

#[test]
fn gates_are_those_of_the_design() {
    let z = random(1, ROWS * 12);
    let wide = Tensor::from_slice(&z, (ROWS, 12), &Device::Cpu).unwrap();
    assert!(error(&values(&gated(&wide)), &oracle(&z)) <= 1e-6);
    let narrow = wide.to_dtype(DType::BF16).unwrap();
    assert!(error(&values(&gated(&narrow)), &oracle(&values(&narrow))) <= BF16);
}

#[test]
fn what_a_row_does_not_want_stays_out_of_it() {
    let mut z = random(1, ROWS * 12);
    // Of policy 1, which rows 1 and 2 do not want.
    for row in [1, 2] {
        z[row * 12 + 3] = f32::INFINITY;
    }
    let u = values(&gated(&Tensor::from_slice(&z, (ROWS, 12), &Device::Cpu).unwrap()));
    assert!(u.iter().all(|x| x.is_finite()));
    assert!(u[12..24].iter().all(|x| x.to_bits() == 0));
}

#[test]
fn gaps_and_unknown_policies_are_refused() {
    let block = |policy, ranks| Block { part: 0, policy, ranks };
    for blocks in [vec![block(0, 1..2)], vec![block(0, 0..2), block(1, 3..4)], vec![block(3, 0..1)]] {
        Ranks::new(&blocks, POLICIES, &Device::Cpu).unwrap_err();
    }
    let ranks = Ranks::new(&blocks(), POLICIES, &Device::Cpu).unwrap();
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    ranks.gate(&zeros((2, 11)), &zeros((2, 5))).unwrap_err();
    ranks.gate(&zeros((2, 12)), &zeros((3, 5))).unwrap_err();
    ranks.gate(&zeros((2, 12)), &zeros((2, 3))).unwrap_err();
}

/// The table as the kernel reads it: policy, first column of the same rank and layer, the next one.
fn columns() -> Vec<u32> {
    let policy = [0, 0, 0, 1, 1, 2, 2, 2, 2, 0, 2, 2];
    let first = [0, 1, 2, 0, 1, 0, 1, 2, 8, 9, 9, 11];
    let none = u32::MAX;
    let next = [3, 4, 7, 5, 6, none, none, none, none, 10, none, none];
    [policy, first, next].concat()
}

fn input<T: Bytes>(z: &[T]) -> Vec<u8> {
    [bytes(z), bytes(&mixes()), bytes(&columns())].concat()
}

#[test]
fn the_gate_kernel_computes_what_its_twin_does() {
    let z = random_bf16(1, ROWS * 12);
    let narrow = as_bf16(&run("gate", &[0, ROWS, 12, POLICIES], &input(&z)));
    assert_eq!(narrow, gated(&tensor(&z, (ROWS, 12))).flatten_all().unwrap().to_vec1::<bf16>().unwrap());
    let z = random(2, ROWS * 12);
    let wide = as_f32(&run("gate", &[1, ROWS, 12, POLICIES], &input(&z)));
    assert_eq!(wide, values(&gated(&Tensor::from_slice(&z, (ROWS, 12), &Device::Cpu).unwrap())));
}

#[test]
fn feeds_are_those_of_an_oracle_and_the_kernels() {
    for (rows, width) in [(1, 1), (3, 7), (4, 16)] {
        let x: Vec<f32> = random(4, rows * 2 * width).iter().map(|x| x * 8.0).collect();
        let expected: Vec<f64> = (0..rows * width)
            .map(|at| {
                let gate = at / width * 2 * width + at % width;
                let (g, up) = (f64::from(x[gate]), f64::from(x[gate + width]));
                g / (1.0 + (-g).exp()) * up
            })
            .collect();
        let wide = Tensor::from_slice(&x, (rows, 2 * width), &Device::Cpu).unwrap();
        assert!(error(&values(&feed(&wide).unwrap()), &expected) <= 1e-6);
        assert!(error(&as_f32(&run("feed", &[1, rows, width], &bytes(&x))), &expected) <= 1e-6);
        let narrow = wide.to_dtype(DType::BF16).unwrap();
        let ours = feed(&narrow).unwrap();
        let kernel = run("feed", &[0, rows, width], &bytes(&narrow.flatten_all().unwrap().to_vec1::<bf16>().unwrap()));
        // Two exponentials may differ in the last bit, and the rounded product with it.
        let twin: Vec<f64> = values(&ours).into_iter().map(f64::from).collect();
        let kernel: Vec<f32> = as_bf16(&kernel).into_iter().map(bf16::to_f32).collect();
        assert!(error(&kernel, &twin) <= BF16, "{rows} {width}");
    }
    let odd = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    feed(&odd).unwrap_err();
}
