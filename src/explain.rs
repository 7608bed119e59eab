//! Which policy wanted an answer: its tokens under the base and under every policy, as rows of one batch.

use std::sync::Arc;

use tureen_engine::{Engine, Text};
use tureen_soup::{MergeOptions, Pool, Preference, Soup};

use crate::wire::explanation::{Explanation, Gain, TokenExplanation};

/// An answer that will be explained.
pub struct Explain {
    engine: Engine,
    pool: Arc<Pool>,
    prompt: Vec<u32>,
    tokens: Vec<(u32, String, f32)>,
}

impl Explain {
    /// Will explain the answer to `prompt`, which a soup of `pool` gives.
    pub fn new(engine: Engine, pool: Arc<Pool>, prompt: Vec<u32>) -> Self {
        Self { engine, pool, prompt, tokens: Vec::new() }
    }

    /// A token came.
    pub fn token(&mut self, id: u32, text: &str, logprob: f32) {
        self.tokens.push((id, text.to_owned(), logprob));
    }

    /// Scores the whole answer.
    pub async fn finish(self) -> Explanation {
        let Self { engine, pool, prompt, tokens } = self;
        let answer = tokens.iter().map(|(id, ..)| *id).collect();
        let text = Text { prompt, answer, pool: pool.clone(), soups: poles(&pool) };
        match engine.score(text).await {
            Ok(scores) => explanation(&pool, &tokens, scores),
            Err(error) => Explanation::unavailable(error.code()),
        }
    }
}

/// The base, then every policy alone.
pub fn poles(pool: &Pool) -> Vec<Arc<Soup>> {
    let alone = |name: String| Preference::from_pairs([(name, 1.0)]);
    let policies = pool.policies().iter().map(|policy| alone(policy.id().to_string()).expect("1 is a weight"));
    let options = MergeOptions::default();
    // A full-weight policy has no factors: `linear` names it all the same, and the engine leaves it out.
    let linear = MergeOptions { method: tureen_soup::Method::Linear, ..options.clone() };
    let soup = |wish: Preference| pool.soup(&wish, &options).or_else(|_| pool.soup(&wish, &linear));
    let all = std::iter::once(Preference::default()).chain(policies);
    all.map(|wish| Arc::new(soup(wish).expect("every policy of a pool can be asked for alone"))).collect()
}

fn explanation(pool: &Pool, tokens: &[(u32, String, f32)], scores: Vec<Option<Vec<f32>>>) -> Explanation {
    let mut scores = scores.into_iter();
    let Some(Some(base)) = scores.next() else { return Explanation::unavailable("no_gate") };
    let named = pool.policies().iter().map(|policy| policy.id().to_string()).zip(scores);
    let policies: Vec<(String, Vec<f32>)> = named.filter_map(|(name, scores)| Some((name, scores?))).collect();
    let sum = |scores: &[f32]| scores.iter().map(|score| f64::from(*score)).sum::<f64>();
    let mut gains: Vec<Gain> = policies
        .iter()
        .map(|(name, scores)| Gain { policy: name.clone(), logprob: sum(scores), gain: sum(scores) - sum(&base) })
        .collect();
    gains.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let token = |(i, (id, text, soup)): (usize, &(u32, String, f32))| TokenExplanation {
        id: *id,
        text: text.clone(),
        soup: *soup,
        base: base[i],
        policies: policies.iter().map(|(name, scores)| (name.clone(), scores[i])).collect(),
    };
    let soup = tokens.iter().map(|(.., logprob)| f64::from(*logprob)).sum();
    let tokens = tokens.iter().enumerate().map(token).collect();
    Explanation::new(tokens, soup, sum(&base), gains)
}
