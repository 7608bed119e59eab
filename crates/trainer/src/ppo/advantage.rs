//! Generalised advantage estimation (Schulman et al., arXiv 1506.02438) and whitening.

/// Advantages and returns of one response from its per-token `rewards` and `values`:
/// `delta_t = r_t + gamma v_{t+1} - v_t`, `A_t = delta_t + gamma lambda A_{t+1}`, `R_t = A_t + v_t`, with `v` 0 past the end.
pub fn gae(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        advantages[t] = next_advantage;
        next_value = values[t];
    }
    let returns = advantages.iter().zip(values).map(|(a, v)| a + v).collect();
    (advantages, returns)
}

/// Brings all values of all rows to mean 0 and variance 1 (unbiased variance, epsilon 1e-8, as TRL's `masked_whiten`).
pub fn whiten(rows: &mut [Vec<f64>]) {
    let count = rows.iter().map(Vec::len).sum::<usize>() as f64;
    if count < 2.0 {
        return;
    }
    let mean = rows.iter().flatten().sum::<f64>() / count;
    let variance = rows.iter().flatten().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let inverse = 1.0 / (variance + 1e-8).sqrt();
    rows.iter_mut().flatten().for_each(|value| *value = (*value - mean) * inverse);
}
