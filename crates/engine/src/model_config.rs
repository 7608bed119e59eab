//! The shape of a checkpoint: what `config.json` or the GGUF metadata says about the network.

use std::f64::consts::TAU;

/// Largest size accepted: more than any network has.
const MAX_SIZE: usize = 1 << 24;

/// Sizes and constants of a decoder-only network of the LLaMA family. Lengths are in elements, never in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `llama` or `qwen2`.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward network between its projections.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Rows of the embedding, which may be more than the tokenizer has tokens.
    pub vocab_size: usize,
    /// Longest sequence that the positions were trained for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square inside every RMS norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched for long contexts.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether q, k and v projections (and, for llama, the output projection) have a bias; qwen2 has it on q, k, v.
    pub attention_bias: bool,
    /// Whether the output projection is the embedding itself, so that there is no `lm_head.weight`.
    pub tie_word_embeddings: bool,
    /// Token that opens a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a generation, ascending.
    pub eos_token_ids: Vec<u32>,
}

/// A published way to stretch the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Every frequency divided by the factor.
    Linear {
        /// The divisor, > 0.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` count as low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` count as high frequencies.
        high_freq_factor: f64,
        /// Context of the pretraining, in tokens.
        original_max_position_embeddings: f64,
    },
    /// One divisor for each of the `head_dim / 2` frequencies, as a GGUF carries them in `rope_freqs.weight`.
    Divisors(Vec<f64>),
}

impl ModelConfig {
    /// The `head_dim / 2` rotary frequencies in radians per token, scaling applied: `theta^(-2 i / head_dim)`
    /// (Su et al., "RoFormer", arXiv 2104.09864, eq. 15; the llama3 scaling as in transformers).
    pub fn rope_frequencies(&self) -> Vec<f64> {
        (0..self.head_dim / 2)
            .map(|i| {
                let frequency = self.rope_theta.powf(-2.0 * i as f64 / self.head_dim as f64);
                self.rope_scaling.as_ref().map_or(frequency, |scaling| scaling.apply(i, frequency))
            })
            .collect()
    }

    /// Refuses numbers that contradict each other or that no network has, with the reason.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
            self.vocab_size,
            self.max_position_embeddings,
        ];
        // Products of two such sizes are far from overflowing.
        if sizes.iter().any(|size| !(1..=MAX_SIZE).contains(size)) {
            return Err(format!("sizes must be from 1 to {MAX_SIZE}: {self:?}"));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let (queries, keys) = (self.num_attention_heads, self.num_key_value_heads);
            return Err(format!("{queries} query heads cannot share {keys} key and value heads"));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("heads of width {} cannot be rotated in pairs", self.head_dim));
        }
        match &self.rope_scaling {
            Some(RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. }) if low >= high => {
                Err(format!("rope scaling from {high} down to {low} is the wrong way round"))
            }
            _ => Ok(()),
        }
    }
}

impl RopeScaling {
    fn apply(&self, index: usize, frequency: f64) -> f64 {
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Divisors(divisors) => frequency / divisors[index],
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings: context } => {
                let wavelength = TAU / frequency;
                if wavelength < context / high_freq_factor {
                    frequency
                } else if wavelength > context / low_freq_factor {
                    frequency / factor
                } else {
                    let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelConfig, RopeScaling};

    fn config() -> ModelConfig {
        ModelConfig {
            architecture: "llama".into(),
            hidden_size: 64,
            intermediate_size: 96,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            vocab_size: 320,
            max_position_embeddings: 131_072,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            rope_scaling: None,
            attention_bias: false,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_ids: vec![],
        }
    }

    fn assert_close(config: &ModelConfig, expected: [f64; 8]) {
        let frequencies = config.rope_frequencies();
        assert_eq!(frequencies.len(), 8);
        for (ours, theirs) in frequencies.into_iter().zip(expected) {
            assert!((ours / theirs - 1.0).abs() < 1e-6, "{ours}, expected {theirs}");
        }
    }

    // Expected frequencies: `ROPE_INIT_FUNCTIONS` of transformers, in f32.

    #[test]
    fn llama3_scaling_is_that_of_transformers() {
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        };
        let expected = [
            1.0,
            0.193_922_758,
            0.037_606_030_7,
            0.007_292_665_08,
            0.000_429_556_705,
            8.570_255_89e-6,
            1.661_967_417e-6,
            3.222_932_889e-7,
        ];
        assert_close(&ModelConfig { rope_scaling: Some(scaling), ..config() }, expected);
    }

    #[test]
    fn linear_scaling_is_that_of_transformers() {
        let scaling = RopeScaling::Linear { factor: 4.0 };
        let expected =
            [0.25, 0.079_056_941, 0.025, 0.007_905_694_66, 0.0025, 0.000_790_569_466, 0.000_25, 7.905_694_66e-5];
        assert_close(&ModelConfig { rope_theta: 10_000.0, rope_scaling: Some(scaling), ..config() }, expected);
    }

    #[test]
    fn divisors_divide() {
        let scaling = RopeScaling::Divisors((1..=8).map(f64::from).collect());
        let plain = config().rope_frequencies();
        let divided = ModelConfig { rope_scaling: Some(scaling), ..config() }.rope_frequencies();
        for (index, (plain, divided)) in plain.into_iter().zip(divided).enumerate() {
            assert_eq!(divided, plain / (index + 1) as f64);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        config().check().unwrap();
        let broken = [
            ModelConfig { num_key_value_heads: 3, ..config() },
            ModelConfig { head_dim: 15, ..config() },
            ModelConfig { vocab_size: 0, ..config() },
            ModelConfig { hidden_size: usize::MAX, ..config() },
        ];
        for config in broken {
            config.check().unwrap_err();
        }
    }
}
