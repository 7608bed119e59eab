//! Random numbers that depend on a seed and a name alone.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a, so that every name has numbers of its own.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(ChaCha8Rng::seed_from_u64(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Normally distributed numbers (Box-Muller).
    pub(crate) fn normal(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let (radius, angle): (f64, f64) = (self.0.random(), self.0.random());
                let radius = (-2.0 * (1.0 - radius).ln()).sqrt();
                (radius * (std::f64::consts::TAU * angle).cos()) as f32 * deviation
            })
            .collect()
    }
}
