//! `W + t Σ_i w_i D_i`, for policies of any kind.

use super::{Part, add};

pub(super) fn merge(part: &Part<'_>) -> Vec<f32> {
    if part.soup.strength() == 1.0 && part.mean.sums_to_one() && part.deltas.iter().all(|(_, d)| d.theta().is_some()) {
        return mean_of_checkpoints(part);
    }
    let mut rows = vec![vec![0.0; part.width]; part.deltas.len()];
    let mut change = vec![0.0; part.width];
    let mut merged = Vec::with_capacity(part.base.len());
    for (row, base) in part.base.chunks_exact(part.width).enumerate() {
        for ((_, delta), out) in part.deltas.iter().zip(&mut rows) {
            delta.row(row, out);
        }
        part.mean.of(&rows, &mut change);
        merged.extend(base.iter().zip(&change).map(|(base, change)| add(*base, part.soup.strength() * change)));
    }
    merged
}

/// `Σ_i w_i theta_i`, the same without the base: subtracting it and adding it again could cost a bit, and one policy
/// alone is to be served exactly as it was published.
fn mean_of_checkpoints(part: &Part<'_>) -> Vec<f32> {
    let mut rows = vec![vec![0.0; part.width]; part.deltas.len()];
    let mut mean = vec![0.0; part.width];
    let mut merged = Vec::with_capacity(part.base.len());
    for start in (0..part.base.len()).step_by(part.width) {
        for (theta, out) in part.deltas.iter().filter_map(|(_, delta)| delta.theta()).zip(&mut rows) {
            out.iter_mut().zip(&theta[start..]).for_each(|(out, theta)| *out = f64::from(*theta));
        }
        part.mean.of(&rows, &mut mean);
        merged.extend(mean.iter().map(|value| *value as f32));
    }
    merged
}
