//! Each operation at both places, over shapes that are no whole number of anything.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use tureen_trainer::Place;
use tureen_trainer::model::Packing;
use tureen_trainer::ops::{Attention, Frozen, Rope, frozen_linear, rms_norm, swiglu, token_log_prob};

use crate::support::{close, places, random, values};

/// Results, and gradients of every argument, agree within 1e-5 of the largest value.
#[track_caller]
fn same(arguments: &[Tensor], op: impl Fn(&Place, &[Tensor]) -> Tensor) {
    let [cpu, twin] = places().map(|place| {
        let variables: Vec<Var> = arguments.iter().map(|of| Var::from_tensor(of).unwrap()).collect();
        let tracked: Vec<Tensor> = variables.iter().map(|var| var.as_tensor().clone()).collect();
        let y = op(&place, &tracked);
        assert_eq!(values(&op(&place, arguments)), values(&y), "the result depends on whether gradients are wanted");
        let grads = (&y * random(77, y.dims(), 1.0)).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = variables.iter().map(|var| values(grads.get(var).unwrap()));
        [vec![values(&y)], grads.collect()].concat()
    });
    assert_eq!(twin.len(), arguments.len() + 1);
    for (twin, cpu) in twin.iter().zip(&cpu) {
        assert!(cpu.iter().any(|value| value.abs() > 1e-4), "nothing to compare");
        close(twin, cpu, 1e-5);
    }
}

#[test]
fn a_product_with_a_frozen_matrix() {
    for [rows, out, input] in [[1, 1, 1], [3, 5, 7], [1, 33, 17], [130, 16, 40]] {
        let weight = random(1, &[out, input], 1.0);
        same(&[random(2, &[rows, input], 1.0)], |place, x| {
            frozen_linear(&x[0], &Frozen::new(place, &weight).unwrap()).unwrap()
        });
    }
}

#[test]
fn rms_normalisation() {
    for [rows, width] in [[1, 2], [4, 9], [17, 100]] {
        let weight = random(1, &[width], 1.0);
        same(&[random(2, &[rows, width], 3.0)], |place, x| rms_norm(place, &x[0], &weight, 1e-5).unwrap());
    }
    // Where a row is nearly nothing, eps decides.
    let weight = random(1, &[9], 1.0);
    same(&[random(2, &[3, 9], 1e-4)], |place, x| rms_norm(place, &x[0], &weight, 1e-5).unwrap());
}

#[test]
fn swiglu_of_small_and_of_large_values() {
    for ([rows, width], amplitude) in [([1, 2], 1.0), ([5, 14], 2.0), ([3, 66], 200.0)] {
        same(&[random(3, &[rows, width], amplitude)], |place, x| swiglu(place, &x[0]).unwrap());
    }
    for place in places() {
        assert!(swiglu(&place, &random(3, &[2, 5], 1.0)).is_err());
    }
}

#[test]
fn log_probabilities_of_tokens() {
    // One row, and more than are computed at a time at either place; logits that a softmax must be careful with.
    for (rows, [vocabulary, width], amplitude) in
        [(1, [2, 1], 1.0), (7, [11, 6], 1.0), (300, [37, 5], 1.0), (3, [50, 9], 12.0)]
    {
        let head = random(1, &[vocabulary, width], amplitude);
        let targets: Vec<u32> = (0..rows).map(|row| (row * 7 % vocabulary) as u32).collect();
        same(&[random(2, &[rows, width], amplitude)], |place, hidden| {
            token_log_prob(&hidden[0], &Frozen::new(place, &head).unwrap(), &targets).unwrap()
        });
    }
}

/// Attention over rows of these lengths behind a prefix, with query heads over key heads of a width.
#[track_caller]
fn attends(prefix: usize, rows: &[usize], [heads, kv_heads, dim]: [usize; 3]) {
    let packing = Arc::new(Packing::new(prefix, rows));
    let rope = Arc::new(Rope::new(dim, prefix + rows.iter().max().unwrap(), 100.0));
    let tokens = packing.tokens();
    let of = |seed, heads| random(seed, &[tokens, heads * dim], 1.0);
    same(&[of(1, heads), of(2, kv_heads), of(3, kv_heads)], |place, qkv| {
        Attention::new(place, &packing, &rope).unwrap().apply(&qkv[0], &qkv[1], &qkv[2]).unwrap()
    });
}

#[test]
fn attention_over_a_prefix_and_rows() {
    attends(2, &[3, 1, 2], [4, 2, 4]);
    attends(3, &[5], [3, 1, 2]);
    attends(1, &[4, 4], [2, 2, 6]);
    attends(2, &[3, 0, 2], [4, 2, 4]);
}

#[test]
fn attention_without_a_prefix() {
    attends(0, &[6], [4, 2, 4]);
    attends(0, &[1, 7, 2], [4, 1, 4]);
}

#[test]
fn attention_over_more_rows_than_are_computed_at_a_time() {
    attends(9, &[400, 500, 3, 450, 2, 480], [2, 1, 2]);
}

#[test]
fn attention_refuses_what_does_not_fit() {
    let (packing, rope) = (Arc::new(Packing::new(2, &[3, 1])), Arc::new(Rope::new(4, 8, 100.0)));
    let short = Arc::new(Rope::new(4, 4, 100.0));
    for place in places() {
        assert!(Attention::new(&place, &packing, &short).is_err());
        let attention = Attention::new(&place, &packing, &rope).unwrap();
        let (six, five) = (random(1, &[6, 8], 1.0), random(1, &[5, 8], 1.0));
        assert!(attention.apply(&six, &six, &six).is_ok());
        assert!(attention.apply(&five, &five, &five).is_err());
        assert!(attention.apply(&six, &six, &five).is_err());
    }
}
