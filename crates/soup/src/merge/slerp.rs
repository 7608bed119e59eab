//! Spherical linear interpolation between the changes of two policies (Shoemake 1985), tensor by tensor:
//!
//! ```text
//! slerp(D_1, D_2; u) = sin((1-u) Ω) / sin Ω · D_1 + sin(u Ω) / sin Ω · D_2,   cos Ω = <D_1, D_2> / (|D_1| |D_2|)
//! ```
//!
//! with u the second policy's share. Nearly parallel changes (|cos Ω| > 0.9995, as in mergekit) and tensors that only
//! one of the policies changes are interpolated linearly.

use super::Part;

const PARALLEL: f64 = 0.9995;

pub(super) fn merge(part: &Part<'_>) -> Vec<f32> {
    let changes = part.dense();
    let mut mixed = vec![0.0; part.base.len()];
    let [first, second] = &changes[..] else {
        // The other one leaves this tensor alone.
        part.mean.of(&changes, &mut mixed);
        return part.apply(&mixed);
    };
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let norms = (dot(first, first) * dot(second, second)).sqrt();
    let cosine = dot(first, second) / norms;
    // Also for a norm of 0, where the cosine is NaN.
    if norms == 0.0 || cosine.abs() > PARALLEL {
        part.mean.of(&changes, &mut mixed);
        return part.apply(&mixed);
    }
    let weights = part.mean.weights();
    let share = weights[1] / (weights[0] + weights[1]);
    let angle = cosine.acos();
    let (keep, take) = (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin());
    let pairs = first.iter().zip(second);
    mixed.iter_mut().zip(pairs).for_each(|(mixed, (x, y))| *mixed = keep * x + take * y);
    part.apply(&mixed)
}
