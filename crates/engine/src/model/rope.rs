//! Tables of the rotary position embedding (Su et al., arXiv 2104.09864).

use tureen_kernels::Rotation;

use crate::model_config::ModelConfig;

/// Cosines and sines of every position up to a context length.
#[derive(Debug)]
pub(crate) struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Tables for `context` positions.
    pub(crate) fn new(config: &ModelConfig, context: usize) -> Self {
        let frequencies = config.rope_frequencies();
        let angles = (0..context).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let (sin, cos) = angles.map(|a| (a.sin() as f32, a.cos() as f32)).unzip();
        Self { cos, sin }
    }

    pub(crate) fn rotation(&self) -> Rotation<'_> {
        Rotation { cos: &self.cos, sin: &self.sin }
    }
}
