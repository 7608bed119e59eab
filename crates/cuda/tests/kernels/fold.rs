//! Low-rank changes.

use candle_core::{DType, Device, Tensor};
use tureen_cuda::fold;

use super::{BF16, error, random, values};

#[test]
fn folds_are_those_of_an_oracle() {
    for (layers, out, input, rank) in [(None, 5, 7, 3), (Some(3), 9, 4, 6), (Some(1), 2, 11, 1), (None, 3, 3, 0)] {
        let count = layers.unwrap_or(1);
        for (dtype, bound) in [(DType::F32, 1e-6), (DType::BF16, BF16)] {
            let make = |seed, rows: usize, columns: usize| {
                let shape: Vec<usize> = layers.into_iter().chain([rows, columns]).collect();
                let values = random(seed, count * rows * columns);
                Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let (w, b, a) = (make(1, out, input), make(2, out, rank), make(3, rank, input));
            let [vw, vb, va] = [&w, &b, &a].map(|t| values(t).into_iter().map(f64::from).collect::<Vec<_>>());
            let mut expected = vw;
            for (at, value) in expected.iter_mut().enumerate() {
                let (row, column) = (at / input, at % input);
                let a = &va[row / out * rank * input..];
                *value += (0..rank).map(|k| vb[row * rank + k] * a[k * input + column]).sum::<f64>();
            }
            let folded = fold(&w, &b, &a).unwrap();
            assert_eq!((folded.shape(), folded.dtype()), (w.shape(), dtype));
            assert!(error(&values(&folded), &expected) <= bound, "{layers:?} {out} {input} {rank} {dtype:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for [w, b, a] in [
        [&[4, 5][..], &[4, 2], &[3, 5]],
        [&[4, 5], &[4, 2], &[2, 6]],
        [&[4, 5], &[5, 2], &[2, 5]],
        [&[2, 4, 5], &[4, 2], &[2, 5]],
        [&[2, 4, 5], &[3, 4, 2], &[2, 2, 5]],
        [&[1, 2, 4, 5], &[1, 2, 4, 2], &[1, 2, 2, 5]],
        [&[5], &[5], &[5]],
    ] {
        fold(&zeros(w), &zeros(b), &zeros(a)).unwrap_err();
    }
    let bf16 = Tensor::zeros((4, 2), DType::BF16, &Device::Cpu).unwrap();
    fold(&zeros(&[4, 5]), &bf16, &zeros(&[2, 5])).unwrap_err();
}
