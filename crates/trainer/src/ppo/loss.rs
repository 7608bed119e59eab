//! The clipped objective and its gradient.

/// How far one update may go.
#[derive(Clone, Copy, Debug)]
pub struct Clipping {
    /// Clip of the probability ratio.
    pub cliprange: f64,
    /// Clip of the change of a value.
    pub cliprange_value: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// A minibatch whose mean ratio is above this is skipped.
    pub ratio_threshold: f64,
}

/// The tokens of a minibatch, flattened; all slices are of one length.
#[derive(Clone, Copy, Debug)]
pub struct Minibatch<'a> {
    /// Log-probabilities under the policy now.
    pub log_probs: &'a [f64],
    /// Log-probabilities when the responses were sampled.
    pub old_log_probs: &'a [f64],
    /// Values now.
    pub values: &'a [f64],
    /// Values when the responses were sampled.
    pub old_values: &'a [f64],
    /// Whitened advantages.
    pub advantages: &'a [f64],
    /// Returns.
    pub returns: &'a [f64],
}

/// Losses, gradients and statistics of one minibatch.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Clipped policy loss.
    pub policy_loss: f64,
    /// Clipped value loss, not weighted.
    pub value_loss: f64,
    /// Share of tokens whose ratio was clipped.
    pub clip_fraction: f64,
    /// Share of values that were clipped.
    pub value_clip_fraction: f64,
    /// Half the mean squared change of log-probability.
    pub approx_kl: f64,
    /// Mean of old minus new log-probability.
    pub policy_kl: f64,
    /// Mean ratio.
    pub ratio: f64,
    /// Largest |ratio - 1|.
    pub ratio_deviation: f64,
    /// Whether the mean ratio was over the threshold; the gradients are then zero.
    pub skipped: bool,
    /// Derivative of the whole loss by each log-probability.
    pub grad_log_probs: Vec<f64>,
    /// Derivative of the whole loss by each value.
    pub grad_values: Vec<f64>,
}

/// `L = mean max(-A rho, -A clip(rho, 1 ± c)) + vf/2 mean max((v - R)^2, (clip(v, v_old ± c_v) - R)^2)`, `rho = e^(logp - old)`.
pub fn ppo_loss(batch: Minibatch<'_>, clipping: Clipping) -> Outcome {
    let count = batch.log_probs.len() as f64;
    let mut out = Outcome::default();
    for t in 0..batch.log_probs.len() {
        let change = batch.log_probs[t] - batch.old_log_probs[t];
        let (ratio, advantage) = (change.exp(), batch.advantages[t]);
        let clipped = ratio.clamp(1.0 - clipping.cliprange, 1.0 + clipping.cliprange);
        let (free, bound) = (-advantage * ratio, -advantage * clipped);
        out.policy_loss += free.max(bound) / count;
        out.clip_fraction += f64::from(u8::from(bound > free)) / count;
        // Where the bound is the larger one the ratio lies outside the clip range and the loss is flat.
        out.grad_log_probs.push(if bound > free { 0.0 } else { free / count });
        out.approx_kl += 0.5 * change * change / count;
        out.policy_kl -= change / count;
        out.ratio += ratio / count;
        out.ratio_deviation = out.ratio_deviation.max((ratio - 1.0).abs());

        let (value, old) = (batch.values[t], batch.old_values[t]);
        let near = value.clamp(old - clipping.cliprange_value, old + clipping.cliprange_value);
        let (free, bound) = (value - batch.returns[t], near - batch.returns[t]);
        let is_clipped = bound * bound > free * free;
        out.value_loss += 0.5 * (free * free).max(bound * bound) / count;
        out.value_clip_fraction += f64::from(u8::from(is_clipped)) / count;
        out.grad_values.push(if is_clipped { 0.0 } else { clipping.vf_coef * free / count });
    }
    if out.ratio > clipping.ratio_threshold {
        out.skipped = true;
        out.grad_log_probs.fill(0.0);
        out.grad_values.fill(0.0);
    }
    out
}
