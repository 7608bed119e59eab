//! Keys and values in places of a cache.

use candle_core::{DType, Device, Tensor};
use half::bf16;
use tureen_cuda::{NOWHERE, attend, store};

use super::host::{as_bf16, as_f32, bytes, run};
use super::{BF16, error, random, tensor, values};

const QUERIES: usize = 4;
const HEADS: usize = 2;
const ROWS: usize = 3;
const CONTEXT: usize = 5;
const PLACES: usize = 11;

/// Three rows that see five, one and three places.
fn table() -> Vec<u32> {
    let none = NOWHERE;
    [[4, 10, 0, 7, 2], [3, none, none, none, none], [9, 1, 8, none, none]].concat()
}

/// Queries, keys and values, rounded to bf16.
fn rounded(dim: usize) -> [Vec<bf16>; 3] {
    let make = |seed, count: usize| random(seed, count).into_iter().map(|x| bf16::from_f32(2.0 * x)).collect();
    [make(1, QUERIES * ROWS * dim), make(2, HEADS * PLACES * dim), make(3, HEADS * PLACES * dim)]
}

fn tensors(dim: usize, dtype: DType) -> [Tensor; 4] {
    let [q, keys, values] = rounded(dim);
    let of = |values: &[bf16], shape: (usize, usize, usize)| tensor(values, shape).to_dtype(dtype).unwrap();
    let table = Tensor::from_vec(table(), (ROWS, CONTEXT), &Device::Cpu).unwrap();
    [of(&q, (QUERIES, ROWS, dim)), of(&keys, (HEADS, PLACES, dim)), of(&values, (HEADS, PLACES, dim)), table]
}

/// In f64, (rows, queries x dim).
fn oracle(dim: usize, scale: f64) -> Vec<f64> {
    let [q, keys, values] = rounded(dim).map(|x| x.iter().map(|x| f64::from(x.to_f32())).collect::<Vec<_>>());
    let mut mixed = Vec::new();
    for row in 0..ROWS {
        for query in 0..QUERIES {
            let q = &q[(query * ROWS + row) * dim..][..dim];
            let places: Vec<usize> = table()[row * CONTEXT..][..CONTEXT]
                .iter()
                .filter(|place| **place != NOWHERE)
                .map(|place| (query / 2 * PLACES + *place as usize) * dim)
                .collect();
            let score = |at: &usize| (scale * q.iter().zip(&keys[*at..]).map(|(q, k)| q * k).sum::<f64>()).exp();
            let scores: Vec<f64> = places.iter().map(score).collect();
            let total: f64 = scores.iter().sum();
            mixed
                .extend((0..dim).map(|d| {
                    places.iter().zip(&scores).map(|(at, score)| score / total * values[at + d]).sum::<f64>()
                }));
        }
    }
    mixed
}

#[test]
fn rows_attend_as_an_oracle_does() {
    for dim in [2, 6, 16] {
        for (dtype, bound) in [(DType::F32, 1e-6), (DType::BF16, BF16)] {
            let [q, keys, v, table] = tensors(dim, dtype);
            let mixed = attend(&q, [&keys, &v], &table, 0.3).unwrap();
            assert_eq!((mixed.dims(), mixed.dtype()), (&[ROWS, QUERIES * dim][..], dtype));
            assert!(error(&values(&mixed), &oracle(dim, f64::from(0.3_f32))) <= bound, "{dim} {dtype:?}");
        }
    }
}

#[test]
fn what_is_stored_is_found_where_it_was_put() {
    for dtype in [DType::F32, DType::BF16] {
        let [_, cache, x, _] = tensors(6, dtype);
        let x = x.narrow(1, 0, 2).unwrap().contiguous().unwrap();
        let before = values(&cache);
        store(&cache, &x, &Tensor::new(&[10_u32, 3], &Device::Cpu).unwrap()).unwrap();
        let (after, x) = (values(&cache), values(&x));
        for (at, (before, after)) in before.iter().zip(&after).enumerate() {
            let (head, place, d) = (at / 6 / PLACES, at / 6 % PLACES, at % 6);
            let row = [10, 3].iter().position(|slot| *slot == place);
            let expected = row.map_or(*before, |row| x[(head * 2 + row) * 6 + d]);
            assert_eq!(*after, expected, "head {head}, place {place}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let [q, keys, v, table] = tensors(6, DType::F32);
    let other = |dim| tensors(dim, DType::F32)[1].clone();
    attend(&q, [&other(4), &v], &table, 1.0).unwrap_err();
    attend(&q, [&keys, &v], &table.narrow(0, 0, 2).unwrap(), 1.0).unwrap_err();
    attend(&q.narrow(0, 0, 3).unwrap(), [&keys, &v], &table, 1.0).unwrap_err();
    attend(&q, [&keys.to_dtype(DType::BF16).unwrap(), &v], &table, 1.0).unwrap_err();
    let slots = |slots: &[u32]| Tensor::new(slots, &Device::Cpu).unwrap();
    let x = keys.narrow(1, 0, 2).unwrap().contiguous().unwrap();
    store(&v, &x, &slots(&[0, 1, 2])).unwrap_err();
    store(&v, &x, &slots(&[0, PLACES as u32])).unwrap_err();
    store(&v, &x.to_dtype(DType::BF16).unwrap(), &slots(&[0, 1])).unwrap_err();
}

/// Scores with vectors and without, then what is mixed by shares that any numbers may be; bit for bit.
#[test]
fn the_kernels_compute_what_their_twins_do() {
    let shares = random(5, QUERIES * ROWS * CONTEXT);
    for dim in [2, 6, 16] {
        let [q, keys, v] = rounded(dim);
        let sizes = [QUERIES, HEADS, ROWS, CONTEXT, dim, PLACES];
        let scale = bytes(&[0.3_f32]);
        let wide = |x: &[bf16]| bytes(&x.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
        let narrow_scores = |vectors: usize| {
            let input = [scale.clone(), bytes(&q), bytes(&keys), bytes(&table())].concat();
            as_f32(&run("scores", &[&[0, vectors], &sizes[..]].concat(), &input))
        };
        let input = [scale.clone(), wide(&q), wide(&keys), bytes(&table())].concat();
        // The values are the same, rounded before: so are the scores.
        let scores = as_f32(&run("scores", &[&[1, 0], &sizes[..]].concat(), &input));
        assert_eq!(narrow_scores(0), scores);
        if dim % 8 == 0 {
            assert_eq!(narrow_scores(1), scores);
        }
        assert_eq!(scores, twin_scores(dim));
        let input = [bytes(&shares), wide(&v), bytes(&table())].concat();
        let mixed = as_f32(&run("mix", &[&[1], &sizes[..]].concat(), &input));
        let input = [bytes(&shares), bytes(&v), bytes(&table())].concat();
        let narrow: Vec<f32> =
            as_bf16(&run("mix", &[&[0], &sizes[..]].concat(), &input)).iter().map(|x| x.to_f32()).collect();
        let expected: Vec<f32> = mixed.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        assert_eq!(narrow, expected);
        assert_eq!(mixed, twin_mixed(dim, &shares));
    }
}

/// The twin's sums, by its own words: each in the order of the dimensions, by fused multiplication and addition.
fn twin_scores(dim: usize) -> Vec<f32> {
    let [q, keys, _] = rounded(dim);
    let score = |at: usize| {
        let (query, place) = (at / CONTEXT, table()[at / CONTEXT % ROWS * CONTEXT + at % CONTEXT]);
        if place == NOWHERE {
            return f32::NEG_INFINITY;
        }
        let key = (query / ROWS / 2 * PLACES + place as usize) * dim;
        (0..dim).fold(0.0_f32, |sum, d| q[query * dim + d].to_f32().mul_add(keys[key + d].to_f32(), sum)) * 0.3
    };
    (0..QUERIES * ROWS * CONTEXT).map(score).collect()
}

fn twin_mixed(dim: usize, shares: &[f32]) -> Vec<f32> {
    let [_, _, v] = rounded(dim);
    let value = |at: usize| {
        let (query, row) = (at / dim % QUERIES, at / dim / QUERIES);
        (0..CONTEXT).fold(0.0_f32, |sum, i| {
            let place = table()[row * CONTEXT + i];
            if place == NOWHERE {
                return sum;
            }
            let value = v[(query / 2 * PLACES + place as usize) * dim + at % dim].to_f32();
            shares[(query * ROWS + row) * CONTEXT + i].mul_add(value, sum)
        })
    };
    (0..ROWS * QUERIES * dim).map(value).collect()
}

#[test]
fn the_store_kernel_puts_words_where_its_twin_does() {
    let [_, cache, x, _] = tensors(6, DType::F32);
    let x = x.narrow(1, 2, 3).unwrap().contiguous().unwrap();
    let slots = [7_u32, 0, 10];
    let input = [bytes(&values(&cache)), bytes(&values(&x)), bytes(&slots)].concat();
    let kernel = as_f32(&run("store", &[HEADS, 3, 6, PLACES], &input));
    store(&cache, &x, &Tensor::new(&slots, &Device::Cpu).unwrap()).unwrap();
    assert_eq!(kernel, values(&cache));
}
