//! The epochs of one step: minibatches through the model, the loss, Adam.

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::PpoOptions;
use crate::error::TrainError;
use crate::model::{Base, Checkpointing, LoraAdapter};
use crate::ops::to_vec;
use crate::ppo::{Adam, Clipping, Minibatch, Outcome, gae, ppo_loss, whiten};
use crate::rollout::Sample;
use crate::sequence::score;
use crate::value::ValueHead;

/// Per-token targets of every sample of a step.
pub(crate) struct Targets {
    pub(crate) old_values: Vec<Vec<f64>>,
    pub(crate) advantages: Vec<Vec<f64>>,
    pub(crate) returns: Vec<Vec<f64>>,
}

impl Targets {
    /// Per-token rewards `-beta (log p - log p_ref)`, with the normalised score on the last token, turned into returns and
    /// whitened advantages.
    pub(crate) fn of(
        samples: &[Sample],
        scores: &[f64],
        old_values: Vec<Vec<f64>>,
        beta: f64,
        ppo: &PpoOptions,
    ) -> Self {
        let (mut advantages, mut returns) = (Vec::new(), Vec::new());
        for ((sample, score), values) in samples.iter().zip(scores).zip(&old_values) {
            let apart = sample.log_probs.iter().zip(&sample.ref_log_probs);
            let mut rewards: Vec<f64> = apart.map(|(log_prob, reference)| -beta * (log_prob - reference)).collect();
            if let Some(last) = rewards.last_mut() {
                *last += score;
            }
            let (advantage, target) = gae(&rewards, values, ppo.gamma, ppo.lam);
            advantages.push(advantage);
            returns.push(target);
        }
        whiten(&mut advantages);
        Self { old_values, advantages, returns }
    }
}

/// Statistics of a step's updates.
#[derive(Default)]
pub(crate) struct Updates {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) grad_norms: Vec<f64>,
    pub(crate) stopped_early: bool,
}

impl Updates {
    pub(crate) fn mean(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        self.outcomes.iter().map(of).sum::<f64>() / self.outcomes.len().max(1) as f64
    }
}

/// The parts of the policy that learn.
pub(crate) struct Learner<'a> {
    pub(crate) base: &'a Base,
    pub(crate) adapter: &'a LoraAdapter,
    pub(crate) value_head: &'a ValueHead,
    pub(crate) adam: &'a mut Adam,
    pub(crate) checkpointing: Checkpointing,
}

impl Learner<'_> {
    /// Runs the epochs of step `step`.
    pub(crate) fn run(
        &mut self,
        samples: &[Sample],
        targets: &Targets,
        ppo: &PpoOptions,
        step: u64,
    ) -> Result<Updates, TrainError> {
        let mut updates = Updates::default();
        let mut rng = ChaCha8Rng::seed_from_u64(ppo.seed.wrapping_add(0x5eed));
        rng.set_stream(step);
        let mut order: Vec<usize> = (0..samples.len()).collect();
        'epochs: for _ in 0..ppo.ppo_epochs {
            order.shuffle(&mut rng);
            for rows in order.chunks(ppo.mini_batch_size) {
                let (outcome, norm) = self.minibatch(samples, targets, rows, ppo, step)?;
                let ran_off = outcome.policy_kl > 1.5 * ppo.target_kl;
                updates.outcomes.push(outcome);
                updates.grad_norms.push(norm);
                if ran_off {
                    updates.stopped_early = true;
                    break 'epochs;
                }
            }
        }
        Ok(updates)
    }

    fn minibatch(
        &mut self,
        samples: &[Sample],
        targets: &Targets,
        rows: &[usize],
        ppo: &PpoOptions,
        step: u64,
    ) -> Result<(Outcome, f64), TrainError> {
        let pairs: Vec<_> =
            rows.iter().map(|&row| (samples[row].asked.as_slice(), samples[row].response.tokens.as_slice())).collect();
        let scores = score(self.base, Some(&self.adapter.tracked(self.checkpointing)), &pairs)?;
        let values = self.value_head.forward(&scores.hidden)?;
        let gather = |of: &[Vec<f64>]| -> Vec<f64> { rows.iter().flat_map(|&row| of[row].iter().copied()).collect() };
        let old_log_probs: Vec<f64> = rows.iter().flat_map(|&row| samples[row].log_probs.clone()).collect();
        let outcome = ppo_loss(
            Minibatch {
                log_probs: &widen(&scores.log_probs)?,
                old_log_probs: &old_log_probs,
                values: &widen(&values)?,
                old_values: &gather(&targets.old_values),
                advantages: &gather(&targets.advantages),
                returns: &gather(&targets.returns),
            },
            Clipping {
                cliprange: ppo.cliprange,
                cliprange_value: ppo.cliprange_value,
                vf_coef: ppo.vf_coef,
                ratio_threshold: ppo.ratio_threshold,
            },
        );
        if !(outcome.policy_loss + outcome.value_loss).is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss" });
        }
        if outcome.skipped {
            return Ok((outcome, 0.0));
        }
        // The loss enters the graph as a linear form with the gradients as its coefficients.
        let narrow = |grads: &[f64]| narrow(grads, self.base.place().device());
        let by_log_probs = (&scores.log_probs * narrow(&outcome.grad_log_probs)?)?.sum_all()?;
        let by_values = (values * narrow(&outcome.grad_values)?)?.sum_all()?;
        let grads = (by_log_probs + by_values)?.backward()?;
        let norm = self.adam.step(&grads)?;
        if !norm.is_finite() {
            return Err(TrainError::NotFinite { step, what: "gradient" });
        }
        Ok((outcome, norm))
    }
}

fn widen(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    Ok(to_vec(tensor)?.into_iter().map(f64::from).collect())
}

fn narrow(values: &[f64], device: &Device) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let count = values.len();
    Tensor::from_vec(values, count, device)
}
