//! TIES: trim, elect sign, disjoint mean (Yadav et al., arXiv 2306.01708), with weights.

use super::Part;

pub(super) fn merge(part: &Part<'_>) -> Vec<f32> {
    let mut changes = part.dense();
    for change in &mut changes {
        trim(change, part.soup.density());
    }
    part.apply(&elect(&changes, part.mean.weights()))
}

/// Keeps the `density` share of the values with the largest magnitude, at least one; of equal magnitudes the first.
/// Per tensor, as PEFT and mergekit do; the paper trims over all tensors at once.
fn trim(values: &mut [f64], density: f64) {
    let keep = ((density * values.len() as f64) as usize).clamp(1, values.len());
    if keep == values.len() {
        return;
    }
    let mut magnitudes: Vec<f64> = values.iter().map(|v| v.abs()).collect();
    let (above, threshold, _) = magnitudes.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
    let threshold = *threshold;
    let mut equals = keep - above.iter().filter(|m| **m > threshold).count();
    for value in values {
        let magnitude = value.abs();
        if magnitude == threshold && equals > 0 {
            equals -= 1;
        } else if magnitude <= threshold {
            *value = 0.0;
        }
    }
}

/// For each value: the sign of the weighted sum is elected (0 counts as positive, as in PEFT and mergekit), and the
/// weighted mean taken of those changes that are not 0 and have it. With equal weights that is the paper's mean.
pub(super) fn elect(changes: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let Some(first) = changes.first() else { return Vec::new() };
    (0..first.len()).map(|at| elect_one(changes, weights, at)).collect()
}

fn elect_one(changes: &[Vec<f64>], weights: &[f64], at: usize) -> f64 {
    let values = || changes.iter().map(|change| change[at]).zip(weights.iter().copied());
    let sum: f64 = values().map(|(value, weight)| weight * value).sum();
    let agrees = |value: f64| if sum >= 0.0 { value > 0.0 } else { value < 0.0 };
    let agreeing = || values().filter(|(value, _)| agrees(*value));
    // As in `Mean`: around the largest weight, so that equal changes give exactly that change.
    let mut anchor = (0.0, 0.0);
    let mut total = 0.0;
    for (value, weight) in agreeing() {
        total += weight;
        if weight > anchor.1 {
            anchor = (value, weight);
        }
    }
    let off: f64 = agreeing().map(|(value, weight)| weight * (value - anchor.0)).sum();
    if total > 0.0 { anchor.0 + off / total } else { 0.0 }
}
