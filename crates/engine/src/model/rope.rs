//! Rotary position embedding (Su et al., arXiv 2104.09864), the halves of a head rotated against each other as in
//! Hugging Face's LLaMA.

use crate::model_config::ModelConfig;

/// Cosines and sines of every position up to a context length.
#[derive(Debug)]
pub(crate) struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Tables for `context` positions.
    pub(crate) fn new(config: &ModelConfig, context: usize) -> Self {
        let half = config.head_dim / 2;
        let frequencies = config.rope_frequencies();
        let angles = (0..context).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let (sin, cos) = angles.map(|a| (a.sin() as f32, a.cos() as f32)).unzip();
        Self { half, cos, sin }
    }

    /// Rotates every head of `x` (heads, head dimension) in place.
    pub(crate) fn rotate(&self, x: &mut [f32], position: usize) {
        let half = self.half;
        let (cos, sin) = (&self.cos[position * half..][..half], &self.sin[position * half..][..half]);
        for head in x.chunks_exact_mut(2 * half) {
            let (left, right) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b) = (left[i], right[i]);
                left[i] = a * cos[i] - b * sin[i];
                right[i] = b * cos[i] + a * sin[i];
            }
        }
    }
}
