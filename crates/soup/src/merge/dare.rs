//! DARE: drop at random and rescale (Yu et al., arXiv 2311.03099).

use super::{Part, ties};
use crate::Pool;
use crate::hash::Hasher;

/// `W + t Σ_i w_i m_i∘D_i / density`
pub(super) fn linear(part: &Part<'_>, pool: &Pool) -> Vec<f32> {
    let mut mean = vec![0.0; part.base.len()];
    part.mean.of(&dropped(part, pool), &mut mean);
    part.apply(&mean)
}

/// Signs are elected among what was not dropped.
pub(super) fn ties(part: &Part<'_>, pool: &Pool) -> Vec<f32> {
    part.apply(&ties::elect(&dropped(part, pool), part.mean.weights()))
}

/// Each value stays with probability `density`, divided by it, so that the expected change is the whole one.
fn dropped(part: &Part<'_>, pool: &Pool) -> Vec<Vec<f64>> {
    let density = part.soup.density();
    let mut changes = part.dense();
    for ((index, _), change) in part.deltas.iter().zip(&mut changes) {
        let key = Hasher::new("tureen dare 1")
            .field(&part.soup.seed().to_le_bytes())
            .field(pool.policies()[*index].id().as_ref().as_bytes())
            .field(part.name.as_bytes())
            .seed();
        for (at, value) in change.iter_mut().enumerate() {
            *value = if uniform(key, at as u64) < density { *value / density } else { 0.0 };
        }
    }
    changes
}

/// In [0, 1), from 53 bits: value `at` of the stream `key`. SplitMix64 (Steele et al. 2014) as a counter-based
/// generator: what is drawn for one value depends on no other, so on no order either.
fn uniform(key: u64, at: u64) -> f64 {
    let mut z = key.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 53) as f64
}
