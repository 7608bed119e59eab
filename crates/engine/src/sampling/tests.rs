//! What a device is told chooses what the sampler does.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tureen_cuda::{Choices, choose};
use tureen_kernels::{Compute, Isa, Likelihood, Team};

use super::{After, Choosing, Sampler, SamplingParams};

const VOCABULARY: usize = 500;
/// Tokens of an answer, two of which are drafted.
const STEPS: usize = 3;

/// Parameters of all kinds; half of them leave each of these out.
fn params(rng: &mut ChaCha8Rng) -> SamplingParams {
    let mut maybe = |value: f32, off: f32| if rng.random() { rng.random_range(0.0..1.0) * value } else { off };
    let (temperature, top_p, min_p) = (maybe(2.0, 0.0), maybe(1.0, 1.0), maybe(0.3, 0.0));
    let (penalty, top_k) = (1.0 + maybe(0.5, 0.0), maybe(600.0, 0.0) as usize);
    let biases = (maybe(30.0, 0.0) as usize, rng.random_range(0..VOCABULARY as u32));
    // Some twice.
    let logit_bias = (0..biases.0 as u32).map(|i| ((biases.1 + i % 20) % VOCABULARY as u32, i as f32 / 4.0 - 2.0));
    SamplingParams {
        temperature,
        top_p,
        min_p,
        top_k,
        repetition_penalty: penalty,
        seed: rng.random(),
        logit_bias: logit_bias.collect(),
        ..SamplingParams::default()
    }
}

#[test]
fn a_device_is_told_what_the_sampler_does() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let compute = Compute::new(Isa::detect(), Team::new(1).unwrap());
    let mut buffers = Choosing::new(VOCABULARY);
    for _ in 0..400 {
        let params = params(&mut rng);
        let prompt: Vec<u32> = (0..40).map(|_| rng.random_range(0..VOCABULARY as u32)).collect();
        let logits: Vec<f32> = (0..STEPS * VOCABULARY).map(|_| rng.random_range(-8.0..8.0)).collect();
        let [mut ours, mut told] = [(); 2].map(|()| Sampler::new(params.clone(), &prompt, VOCABULARY));
        let mut likelihoods = [Likelihood::default(); STEPS];
        compute.likelihoods(&logits, VOCABULARY, &mut likelihoods);
        let rows = logits.chunks_exact(VOCABULARY).zip(&likelihoods);
        let chosen: Vec<_> =
            rows.map(|(row, sum)| ours.sample(After::Logits(row, sum), &mut buffers).unwrap()).collect();
        // The first token with a draft of what came next, then what is behind the draft.
        let draft = [chosen[0].id, chosen[1].id];
        let mut choices = Choices::default();
        told.describe(&draft, VOCABULARY, &mut choices);
        let tensor = Tensor::from_slice(&logits, (STEPS, VOCABULARY), &Device::Cpu).unwrap();
        let found = choose(&tensor, &choices.upload(&Device::Cpu).unwrap()).unwrap();
        for (found, chosen) in found.iter().zip(&chosen) {
            let sampled = told.sample(After::Chosen(found), &mut buffers).unwrap();
            assert_eq!(sampled.id, chosen.id, "{params:?}");
            assert!((sampled.logprob - chosen.logprob).abs() < 1e-5, "{sampled:?}, not {chosen:?}");
        }
        assert_eq!(told.seen, ours.seen);
        assert_eq!(told.rng, ours.rng);
    }
}
