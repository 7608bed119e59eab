//! The nearest point of a box that lies on a simplex.

/// Projects `v` in the Euclidean norm on `{x : Σ x = sum, lower ≤ x ≤ upper}`, where `Σ lower ≤ sum ≤ Σ upper`.
///
/// The solution is `x_i = clamp(v_i − τ, lower_i, upper_i)` (the conditions of Karush, Kuhn and Tucker), and its sum falls
/// with τ in straight pieces that meet where a coordinate reaches or leaves a bound: the piece that holds `sum` is
/// found by bisection over these places, and τ on it by one division.
pub(super) fn project(v: &[f64], lower: &[f64], upper: &[f64], sum: f64) -> Vec<f64> {
    let at = |tau: f64| -> Vec<f64> {
        let bounds = lower.iter().zip(upper);
        v.iter().zip(bounds).map(|(v, (lower, upper))| (v - tau).clamp(*lower, *upper)).collect()
    };
    let total = |tau: f64| at(tau).iter().sum::<f64>();
    let corners = v.iter().zip(lower).map(|(v, l)| v - l).chain(v.iter().zip(upper).map(|(v, u)| v - u));
    let mut corners: Vec<f64> = corners.filter(|corner| corner.is_finite()).collect();
    corners.sort_by(f64::total_cmp);
    // The first corner at which the sum is no more than wanted; τ lies on the piece that ends there.
    let end = corners.partition_point(|corner| total(*corner) > sum);
    let Some(high) = corners.get(end).copied() else { return at(corners.last().copied().unwrap_or(0.0)) };
    // Before the first corner only coordinates without an upper bound move.
    let low = if end == 0 { f64::NEG_INFINITY } else { corners[end - 1] };
    let moves = |i: &usize| v[*i] - upper[*i] <= low && high <= v[*i] - lower[*i] && lower[*i] < upper[*i];
    let moving = (0..v.len()).filter(moves).count();
    let tau = if moving == 0 { high } else { high - (sum - total(high)) / moving as f64 };
    at(tau.clamp(low, high))
}
