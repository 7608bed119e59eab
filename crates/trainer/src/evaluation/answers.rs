//! Every prompt answered by everyone who is compared, in batches on one engine.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::Result as TensorResult;

use super::config::EvaluationGeneration;
use crate::error::TrainError;
use crate::generator::{Generator, Order, PooledSoup, Sampling, answer_seed};
use crate::model::Base;
use crate::ops::to_vec;
use crate::prompts::{Prompt, chat_tokens, instructed};
use crate::reward::{Answer, Gate, GateOptions, Text};
use crate::rollout::base_nll;
use crate::sequence::score;

/// Sequences whose likelihood is computed together.
const ROWS: usize = 16;

/// Who answered: the parameters, and the instructions in the prompt.
type Identity = (String, Vec<String>);

/// What answers are made with.
pub(super) struct Kitchen<'a> {
    pub(super) base: &'a Base,
    pub(super) generator: &'a Generator,
    pub(super) prompts: &'a [Prompt],
    pub(super) generation: &'a EvaluationGeneration,
    /// What has been answered: the base, a policy alone or a mixture of equal shares belongs to several studies.
    pub(super) known: RefCell<BTreeMap<Identity, Vec<Reply>>>,
}

/// Who answers, and what is appended to the prompt.
#[derive(Clone)]
pub(super) struct Speaker {
    pub(super) soup: PooledSoup,
    pub(super) instructions: Vec<String>,
}

impl Speaker {
    fn identity(&self) -> Identity {
        (self.soup.id(), self.instructions.clone())
    }
}

/// An answer to one prompt.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    /// The content gate, 0 to 1.
    pub(super) gate: f64,
    /// Negative log-likelihood a token under the base, for the prompt without instructions, in nats.
    pub(super) base_nll: f64,
}

impl Kitchen<'_> {
    /// The answers of each speaker to all prompts. The draws of a prompt are the same for all.
    pub(super) fn answer(&self, speakers: &[Speaker]) -> Result<Vec<Vec<Reply>>, TrainError> {
        let mut known = self.known.borrow_mut();
        let mut new: BTreeMap<Identity, &Speaker> = BTreeMap::new();
        for speaker in speakers {
            let identity = speaker.identity();
            if !known.contains_key(&identity) {
                new.insert(identity, speaker);
            }
        }
        let (identities, new): (Vec<Identity>, Vec<&Speaker>) = new.into_iter().unzip();
        known.extend(identities.into_iter().zip(self.ask(&new)?));
        Ok(speakers.iter().map(|speaker| known[&speaker.identity()].clone()).collect())
    }

    fn ask(&self, speakers: &[&Speaker]) -> Result<Vec<Vec<Reply>>, TrainError> {
        let &EvaluationGeneration { max_new_tokens, seed, resamples: _ } = self.generation;
        let mut orders = Vec::with_capacity(speakers.len() * self.prompts.len());
        for &Speaker { soup, instructions } in speakers {
            let instructions: Vec<&str> = instructions.iter().map(String::as_str).collect();
            for (row, prompt) in self.prompts.iter().enumerate() {
                let turns = instructed(&prompt.turns, &instructions);
                let prompt = chat_tokens(self.generator.checkpoint(), &turns)?;
                let sampling = Sampling::plain(max_new_tokens, answer_seed(&[seed, row as u64]));
                orders.push(Order { prompt, soup: soup.clone(), sampling });
            }
        }
        let responses = self.generator.answer(&orders)?;
        let asked = || speakers.iter().flat_map(|_| self.prompts);
        let rows: Vec<(&Prompt, &[u32], bool)> =
            asked().zip(&responses).map(|(prompt, r)| (prompt, r.tokens.as_slice(), r.ended)).collect();
        let mut replies = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            replies.extend(self.replies(rows)?);
        }
        let mut replies = replies.into_iter();
        Ok(speakers.iter().map(|_| replies.by_ref().take(self.prompts.len()).collect()).collect())
    }

    fn replies(&self, rows: &[(&Prompt, &[u32], bool)]) -> TensorResult<Vec<Reply>> {
        let pairs: Vec<_> = rows.iter().map(|(prompt, tokens, _)| (prompt.tokens.as_slice(), *tokens)).collect();
        let log_probs: Vec<f64> =
            to_vec(&score(self.base, None, &pairs)?.log_probs)?.into_iter().map(f64::from).collect();
        let mut rest = log_probs.as_slice();
        let mut replies = Vec::with_capacity(rows.len());
        for (prompt, tokens, ended) in rows {
            let (own, others) = rest.split_at(tokens.len());
            rest = others;
            let text = self.generator.checkpoint().tokenizer().decode(tokens);
            let base_nll = base_nll(own);
            let answer = Answer { prompt: &prompt.text, text: &text, ended: *ended, base_nll };
            let gate = Gate::of(answer, &Text::new(&text), &[], &GateOptions::default()).value();
            replies.push(Reply { gate, base_nll, text });
        }
        Ok(replies)
    }
}
