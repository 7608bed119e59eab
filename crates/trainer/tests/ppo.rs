//! The arithmetic of PPO against numbers worked out by hand and against differences.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;
use tureen_trainer::ppo::{Adam, AdaptiveKl, Clipping, Minibatch, RunningMoments, gae, ppo_loss, whiten};

#[track_caller]
fn near(ours: f64, expected: f64) {
    assert!((ours - expected).abs() < 1e-9, "{ours} instead of {expected}");
}

#[test]
fn advantages_are_those_worked_out_by_hand() {
    // delta = [1 + 1 - .5, 0 + .25 - 1, 2 - .25] = [1.5, -.75, 1.75]; each step back adds .95 of the next advantage.
    let (advantages, returns) = gae(&[1.0, 0.0, 2.0], &[0.5, 1.0, 0.25], 1.0, 0.95);
    for (ours, expected) in advantages.iter().zip([2.366875, 0.9125, 1.75]) {
        near(*ours, expected);
    }
    for (ours, expected) in returns.iter().zip([2.866875, 1.9125, 2.0]) {
        near(*ours, expected);
    }
}

#[test]
fn lambda_one_gives_the_rewards_to_go() {
    let (_, returns) = gae(&[1.0, 2.0, 3.0], &[7.0, -4.0, 0.5], 1.0, 1.0);
    for (ours, expected) in returns.iter().zip([6.0, 5.0, 3.0]) {
        near(*ours, expected);
    }
}

#[test]
fn whitening_uses_all_rows_and_the_unbiased_variance() {
    let mut rows = vec![vec![1.0, 2.0], vec![3.0], vec![4.0]];
    whiten(&mut rows);
    let deviation = (5.0f64 / 3.0 + 1e-8).sqrt();
    for (ours, expected) in rows.iter().flatten().zip([-1.5, -0.5, 0.5, 1.5]) {
        near(*ours, expected / deviation);
    }
    let mut single = vec![vec![3.0]];
    whiten(&mut single);
    near(single[0][0], 3.0);
}

const KL: AdaptiveKl = AdaptiveKl { coef: 0.2, target: 6.0, horizon: 10_000.0, gain: 0.0, mean: 0.0 };

#[test]
fn the_kl_weight_moves_by_the_clipped_error() {
    let mut kl = KL;
    kl.update(12.0, 16);
    near(kl.beta(), 0.2 * (1.0 + 0.2 * 16.0 / 10_000.0));
    let before = kl.beta();
    kl.update(5.4, 16);
    near(kl.beta(), before * (1.0 - 0.1 * 16.0 / 10_000.0));
}

#[test]
fn with_a_gain_the_weight_follows_the_mean_kl() {
    let mut kl = AdaptiveKl { gain: 2.0, horizon: f64::MAX, ..KL };
    near(kl.beta(), 0.2 * (-2.0f64).exp());
    kl.update(12.0, 16);
    near(kl.beta(), 0.2 * (2.0 * (3.6 / 6.0 - 1.0f64)).exp());
    kl.update(1.6, 16);
    // 3.6 + .3 (1.6 - 3.6)
    near(kl.beta(), 0.2 * (2.0 * (3.0 / 6.0 - 1.0f64)).exp());
    // However far off, the weight stays within e^gain of the slow one.
    kl.update(1e6, 16);
    near(kl.beta(), 0.2 * 2.0f64.exp());
}

/// A policy whose reward rises with its KL as a straight line: a step moves the KL by slope minus weight.
fn settle(mut kl: AdaptiveKl) -> Vec<f64> {
    let mut now = 0.0f64;
    let mut path = Vec::new();
    for _ in 0..400 {
        now = (now + 6.0 * (0.075 - kl.beta())).max(0.0);
        kl.update(now, 24);
        path.push(now);
    }
    path
}

#[test]
fn the_gain_holds_what_the_slow_weight_alone_cannot() {
    let slow = AdaptiveKl { coef: 0.08, target: 8.0, horizon: 1000.0, gain: 0.0, mean: 0.0 };
    let spread = |path: &[f64]| path[100..].iter().map(|kl| (kl - 8.0).abs()).fold(0.0, f64::max);
    assert!(spread(&settle(AdaptiveKl { gain: 2.5, ..slow })) < 0.5);
    assert!(spread(&settle(slow)) > 2.0);
}

#[test]
fn running_moments_equal_those_of_all_scores_at_once() {
    let batches = [vec![1.0, 2.0, 4.0], vec![-3.0], vec![0.5, 0.25]];
    let mut running = RunningMoments::default();
    batches.iter().for_each(|batch| running.update(batch));
    let all = batches.concat();
    let mean = all.iter().sum::<f64>() / 6.0;
    let unbiased = all.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 5.0;
    near(running.mean, mean);
    near(running.deviation(), unbiased.sqrt());
    near(running.normalise(mean + unbiased.sqrt()), 1.0 / (1.0 + 1e-8 / unbiased.sqrt()));
}

const CLIPPING: Clipping = Clipping { cliprange: 0.2, cliprange_value: 0.2, vf_coef: 0.1, ratio_threshold: 10.0 };

fn batch<'a>(log_probs: &'a [f64], values: &'a [f64], fixed: &'a [Vec<f64>; 4]) -> Minibatch<'a> {
    let [old_log_probs, old_values, advantages, returns] = fixed;
    Minibatch { log_probs, old_log_probs, values, old_values, advantages, returns }
}

#[test]
fn the_loss_is_the_clipped_objective() {
    let fixed = [vec![-1.0, -1.0, -1.0], vec![0.0; 3], vec![1.0, 1.0, -2.0], vec![1.0, 0.0, 0.0]];
    // Ratios 1, 1.5 (clipped to 1.2 for a gain) and 1.5 (not clipped for a loss).
    let log_probs = [-1.0, -1.0 + 1.5f64.ln(), -1.0 + 1.5f64.ln()];
    let out = ppo_loss(batch(&log_probs, &[0.0, 0.1, 0.5], &fixed), CLIPPING);
    near(out.policy_loss, (-1.0 - 1.2 + 3.0) / 3.0);
    near(out.clip_fraction, 1.0 / 3.0);
    near(out.grad_log_probs[0], -1.0 / 3.0);
    near(out.grad_log_probs[1], 0.0);
    near(out.grad_log_probs[2], 3.0 / 3.0);
    // Values: error 1, .1, and .5 against .2 when clipped: the larger one counts, so none is flat here.
    near(out.value_loss, 0.5 * (1.0 + 0.01 + 0.25) / 3.0);
    near(out.grad_values[2], 0.1 * 0.5 / 3.0);
    near(out.ratio_deviation, 0.5);
}

#[test]
fn a_value_that_ran_past_its_clip_towards_the_return_is_flat() {
    let fixed = [vec![-1.0], vec![0.0], vec![0.0], vec![1.0]];
    let out = ppo_loss(batch(&[-1.0], &[0.6], &fixed), CLIPPING);
    near(out.value_loss, 0.5 * 0.8 * 0.8);
    near(out.grad_values[0], 0.0);
    near(out.value_clip_fraction, 1.0);
}

#[test]
fn a_minibatch_over_the_ratio_threshold_is_skipped() {
    let fixed = [vec![-4.0], vec![0.0], vec![1.0], vec![1.0]];
    let out = ppo_loss(batch(&[-1.0], &[0.5], &fixed), CLIPPING);
    assert!(out.skipped);
    assert_eq!((out.grad_log_probs[0], out.grad_values[0]), (0.0, 0.0));
}

/// Old log-probability and its change, old value and its change, advantage, return.
type Token = (f64, f64, f64, f64, f64, f64);

proptest! {
    #[test]
    fn gradients_are_the_differences_of_the_loss(
        tokens in proptest::collection::vec(
            (-3.0..-0.1f64, -0.6..0.6f64, -1.0..1.0f64, -0.5..0.5f64, -2.0..2.0f64, -2.0..2.0f64), 1..6)
    ) {
        let column = |of: fn(&Token) -> f64| tokens.iter().map(of).collect::<Vec<_>>();
        let log_probs = column(|t| t.0 + t.1);
        let values = column(|t| t.2 + t.3);
        let fixed = [column(|t| t.0), column(|t| t.2), column(|t| t.4), column(|t| t.5)];
        let total = |log_probs: &[f64], values: &[f64]| {
            let out = ppo_loss(batch(log_probs, values, &fixed), CLIPPING);
            out.policy_loss + CLIPPING.vf_coef * out.value_loss
        };
        let out = ppo_loss(batch(&log_probs, &values, &fixed), CLIPPING);
        let h = 1e-6;
        for index in 0..tokens.len() {
            let shift = |of: &[f64], by: f64| { let mut of = of.to_vec(); of[index] += by; of };
            // A kink between the two sides of the difference is no error of the gradient.
            let change = log_probs[index] - fixed[0][index];
            let kink = [1.2f64.ln(), 0.8f64.ln()].iter().any(|at| (change - at).abs() < 1e-4);
            let numeric = (total(&shift(&log_probs, h), &values) - total(&shift(&log_probs, -h), &values)) / (2.0 * h);
            prop_assert!(kink || (numeric - out.grad_log_probs[index]).abs() < 1e-5);
            let moved = (values[index] - fixed[1][index]).abs();
            let numeric = (total(&log_probs, &shift(&values, h)) - total(&log_probs, &shift(&values, -h))) / (2.0 * h);
            let (free, bound) = (values[index] - fixed[3][index],
                fixed[1][index] + (values[index] - fixed[1][index]).clamp(-0.2, 0.2) - fixed[3][index]);
            let kink = (moved - 0.2).abs() < 1e-4 || (moved > 0.2 && (free.abs() - bound.abs()).abs() < 1e-4);
            prop_assert!(kink || (numeric - out.grad_values[index]).abs() < 1e-5);
        }
    }
}

#[test]
fn adam_makes_the_textbook_updates_on_the_shortened_gradient() {
    let var = Var::from_vec(vec![1.0f32, -2.0], 2, &Device::Cpu).unwrap();
    let mut adam = Adam::new(vec![var.clone()], 0.1, 1.0);
    let (mut m, mut v, mut x) = ([0.0f64; 2], [0.0f64; 2], [1.0f64, -2.0]);
    for (update, slope) in [[3.0f32, 4.0], [0.3, -0.4]].into_iter().enumerate() {
        let loss = (var.as_tensor() * Tensor::new(&slope, &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
        let norm = adam.step(&loss.backward().unwrap()).unwrap();
        let length = f64::from(slope[0]).hypot(f64::from(slope[1]));
        assert!((norm - length).abs() < 1e-6);
        let power = update as i32 + 1;
        for i in 0..2 {
            let g = f64::from(slope[i]) / length.max(1.0);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            x[i] -= 0.1 * (m[i] / (1.0 - 0.9f64.powi(power))) / ((v[i] / (1.0 - 0.999f64.powi(power))).sqrt() + 1e-8);
        }
        let ours: Vec<f32> = var.to_vec1().unwrap();
        assert!((f64::from(ours[0]) - x[0]).abs() < 1e-5 && (f64::from(ours[1]) - x[1]).abs() < 1e-5);
    }
}
