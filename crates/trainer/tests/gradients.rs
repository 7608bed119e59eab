//! The operations, at every place, against finite differences, and the whole model against candle's own autograd.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use candle_core::{Tensor, Var};
use support::{VOCABULARY, adapter, base, close, places, random, reference, values};
use tureen_trainer::Place;
use tureen_trainer::model::{Checkpointing, Packing};
use tureen_trainer::ops::{Attention, Frozen, Rope, frozen_linear, rms_norm, swiglu, token_log_prob};
use tureen_trainer::sequence::{last_hidden, score};

/// Compares the gradient of `sum(weights . op(x))` with central differences, at every place.
#[track_caller]
fn check(x: &Tensor, op: impl Fn(&Place, &Tensor) -> Tensor) {
    places().iter().for_each(|place| check_one(x, |x| op(place, x)));
}

#[track_caller]
fn check_one(x: &Tensor, op: impl Fn(&Tensor) -> Tensor) {
    let var = Var::from_tensor(x).unwrap();
    let weigh = |y: &Tensor| (y * random(77, y.dims(), 1.0)).unwrap().sum_all().unwrap();
    let grads = weigh(&op(var.as_tensor())).backward().unwrap();
    let ours = values(grads.get(&var).unwrap());
    let start = values(x);
    let loss = |values: Vec<f32>| {
        let y = weigh(&op(&Tensor::from_vec(values, x.shape(), x.device()).unwrap()));
        f64::from(y.to_scalar::<f32>().unwrap())
    };
    let numeric: Vec<f32> = (0..start.len())
        .map(|index| {
            let moved = |by: f32| {
                let mut values = start.clone();
                values[index] += by;
                loss(values)
            };
            ((moved(1e-2) - moved(-1e-2)) / 2e-2) as f32
        })
        .collect();
    close(&ours, &numeric, 5e-3);
}

/// A frozen matrix of random values.
fn frozen(place: &Place, seed: u64, shape: [usize; 2]) -> Frozen {
    Frozen::new(place, &random(seed, &shape, 1.0)).unwrap()
}

#[test]
fn frozen_linear_is_the_product_and_has_the_gradient_of_its_input() {
    // Neither a whole number of panels nor of vectors.
    for [rows, out, input] in [[3, 5, 7], [1, 33, 17], [130, 16, 40]] {
        let (weight, x) = (random(1, &[out, input], 1.0), random(2, &[rows, input], 1.0));
        for place in places() {
            let ours = frozen_linear(&x, &frozen(&place, 1, [out, input])).unwrap();
            close(&values(&ours), &values(&x.matmul(&weight.t().unwrap()).unwrap()), 1e-5);
            assert!(frozen_linear(&random(2, &[rows, input + 1], 1.0), &frozen(&place, 1, [out, input])).is_err());
        }
    }
    check(&random(2, &[3, 7], 1.0), |place, x| frozen_linear(x, &frozen(place, 1, [5, 7])).unwrap());
}

#[test]
fn frozen_norms_get_no_gradient() {
    let x = Var::from_tensor(&random(2, &[3, 16], 1.0)).unwrap();
    let norm = Var::from_tensor(&random(2, &[16], 1.0)).unwrap();
    for place in places() {
        let h = frozen_linear(x.as_tensor(), &frozen(&place, 1, [16, 16])).unwrap();
        let h = rms_norm(&place, &h, norm.as_tensor(), 1e-5).unwrap();
        let grads = h.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&x).is_some() && grads.get(&norm).is_none());
    }
}

#[test]
fn rms_norm_matches_differences() {
    let weight = random(1, &[9], 1.0);
    check(&random(2, &[4, 9], 1.0), |place, x| rms_norm(place, x, &weight, 1e-5).unwrap());
}

#[test]
fn swiglu_matches_differences() {
    check(&random(3, &[4, 10], 2.0), |place, x| swiglu(place, x).unwrap());
}

#[test]
fn token_log_prob_matches_differences() {
    check(&random(2, &[3, 6], 1.0), |place, x| token_log_prob(x, &frozen(place, 1, [11, 6]), &[0, 10, 4]).unwrap());
}

#[test]
fn log_probs_of_more_rows_than_a_chunk_equal_those_of_single_rows() {
    let hidden = random(2, &[300, 6], 1.0);
    let targets: Vec<u32> = (0..300).map(|row| row % 11).collect();
    for head in places().map(|place| frozen(&place, 1, [11, 6])) {
        let all = values(&token_log_prob(&hidden, &head, &targets).unwrap());
        for row in [0, 63, 64, 127, 128, 255, 256, 299] {
            let one = hidden.narrow(0, row, 1).unwrap().contiguous().unwrap();
            let one = values(&token_log_prob(&one, &head, &targets[row..=row]).unwrap());
            close(&all[row..=row], &one, 1e-5);
        }
    }
}

#[test]
fn attention_matches_differences_over_prefix_and_rows() {
    let packing = Arc::new(Packing::new(2, &[3, 1, 2]));
    let rope = Arc::new(Rope::new(4, 8, 100.0));
    let (q, k, v) = (random(1, &[8, 16], 1.0), random(2, &[8, 8], 1.0), random(3, &[8, 8], 1.0));
    let attention = |place: &Place| Attention::new(place, &packing, &rope).unwrap();
    check(&q, |place, q| attention(place).apply(q, &k, &v).unwrap());
    check(&k, |place, k| attention(place).apply(&q, k, &v).unwrap());
    check(&v, |place, v| attention(place).apply(&q, &k, v).unwrap());
}

/// With everything kept, and with layers that are computed again.
const EITHER: [Checkpointing; 2] = [Checkpointing::Off, Checkpointing::On];

const PROMPTS: [&[u32]; 3] = [&[1, 2, 3, 4], &[1, 2, 9], &[1, 2, 5, 6, 7]];
const RESPONSES: [&[u32]; 3] = [&[8, 3, 28], &[11, 0], &[20, 21, 22, 23]];

fn pairs() -> Vec<(&'static [u32], &'static [u32])> {
    PROMPTS.into_iter().zip(RESPONSES).collect()
}

/// The response part of the reference's log-probabilities, sequence by sequence.
fn expected(adapter: Option<&tureen_trainer::model::LoraAdapter>) -> Tensor {
    let rows: Vec<Tensor> = pairs()
        .into_iter()
        .map(|(prompt, response)| {
            let (all, _) = reference(&[prompt, response].concat(), adapter);
            all.narrow(0, prompt.len() - 1, response.len()).unwrap()
        })
        .collect();
    Tensor::cat(&rows, 0).unwrap()
}

#[test]
fn packed_rows_with_a_shared_prefix_equal_each_sequence_alone() {
    for base in places().map(|place| base(&place)) {
        let adapter = adapter(&base);
        let ours = score(&base, Some(&adapter.detached()), &pairs()).unwrap();
        close(&values(&ours.log_probs), &values(&expected(Some(&adapter))), 1e-5);
        let ours = score(&base, None, &pairs()).unwrap();
        close(&values(&ours.log_probs), &values(&expected(None)), 1e-5);
    }
}

#[test]
fn adapter_gradients_equal_those_of_candles_autograd() {
    for (base, checkpointing) in places().iter().flat_map(|place| EITHER.map(|either| (base(place), either))) {
        let adapter = adapter(&base);
        let weigh = |y: &Tensor| (y * random(77, y.dims(), 1.0)).unwrap().sum_all().unwrap();
        let delta = adapter.tracked(checkpointing);
        let ours = weigh(&score(&base, Some(&delta), &pairs()).unwrap().log_probs).backward().unwrap();
        let theirs = weigh(&expected(Some(&adapter))).backward().unwrap();
        for (name, var) in adapter.variables() {
            let (ours, theirs) = (ours.get(&var).unwrap(), theirs.get(&var).unwrap());
            assert!(values(theirs).iter().any(|value| value.abs() > 1e-4), "{name} has no gradient to compare");
            close(&values(ours), &values(theirs), 1e-4);
        }
    }
}

#[test]
fn the_last_hidden_state_of_a_row_and_its_gradients_are_those_of_the_sequence_alone() {
    for (base, checkpointing) in places().iter().flat_map(|place| EITHER.map(|either| (base(place), either))) {
        let adapter = adapter(&base);
        let rows: Vec<Vec<u32>> = pairs().into_iter().map(|(prompt, response)| [prompt, response].concat()).collect();
        let ours = last_hidden(&base, Some(&adapter.tracked(checkpointing)), &rows).unwrap();
        let theirs = rows.iter().map(|row| reference(row, Some(&adapter)).1.narrow(0, row.len() - 1, 1).unwrap());
        let theirs = Tensor::cat(&theirs.collect::<Vec<_>>(), 0).unwrap();
        close(&values(&ours), &values(&theirs), 1e-5);
        let weigh = |y: &Tensor| (y * random(78, y.dims(), 1.0)).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, theirs) = (weigh(&ours), weigh(&theirs));
        for (_, var) in adapter.variables() {
            close(&values(ours.get(&var).unwrap()), &values(theirs.get(&var).unwrap()), 1e-4);
        }
        assert!(last_hidden(&base, None, &[vec![1, 2], vec![]]).is_err());
    }
}

#[test]
fn tokens_outside_the_vocabulary_are_refused() {
    for place in places() {
        let (head, hidden) = (frozen(&place, 1, [VOCABULARY, 6]), random(2, &[1, 6], 1.0));
        assert!(token_log_prob(&hidden, &head, &[VOCABULARY as u32]).is_err());
        assert!(token_log_prob(&hidden, &head, &[0, 1]).is_err());
        assert!(token_log_prob(&random(2, &[1, 7], 1.0), &head, &[0]).is_err());
        assert!(score(&base(&place), None, &[(&[1, VOCABULARY as u32], &[3])]).is_err());
        assert!(score(&base(&place), None, &[(&[1, 2], &[])]).is_err());
    }
}
