//! What a device is told so that it chooses as the sampler would.

use rand::RngExt;
use tureen_cuda::{Change, Choices, Draw, Rule};

use super::Sampler;
use super::filter::{allows_all, limits_count};
use super::params::SamplingParams;

impl Sampler {
    /// Says how a device chooses the next token, and those behind each token of `draft`, with the draws that
    /// [`Self::sample`] will make for them.
    pub(crate) fn describe(&self, draft: &[u32], vocabulary: usize, to: &mut Choices) {
        let mut rng = self.rng.clone();
        for written in 0..=draft.len() {
            let rule = if self.params.temperature > 0.0 {
                Rule::Drawn(draw(&self.params, vocabulary, rng.random()))
            } else {
                Rule::Likeliest
            };
            to.push(&rule, self.params.repetition_penalty, self.changes(&draft[..written]));
        }
    }

    /// What happens to the logits after `draft`, each token once: to those that were seen, in its draft among them, and to
    /// those that are biased.
    fn changes(&self, draft: &[u32]) -> impl Iterator<Item = Change> {
        let draft = if self.penalises() { draft } else { &[] };
        let first = move |at: &usize| !self.saw(draft[*at]) && !draft[..*at].contains(&draft[*at]);
        let drafted = (0..draft.len()).filter(first).map(|at| draft[at]);
        let bias = |id| self.biases.binary_search_by_key(&id, |(id, _)| *id).map_or(0.0, |at| self.biases[at].1);
        let seen = self.seen_tokens().chain(drafted).map(move |id| Change { id, bias: bias(id), seen: true });
        let others = self.biases.iter().filter(move |(id, _)| !self.saw(*id) && !draft.contains(id));
        seen.chain(others.map(|(id, bias)| Change { id: *id, bias: *bias, seen: false }))
    }
}

/// What [`Sampler::choose`] does on the CPU.
fn draw(params: &SamplingParams, vocabulary: usize, at: f64) -> Draw {
    Draw {
        temperature: params.temperature,
        top_k: limits_count(params, vocabulary).then_some(params.top_k as u32),
        top_p: params.top_p,
        min_p: params.min_p,
        sorted: !allows_all(params),
        at,
    }
}
