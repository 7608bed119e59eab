//! Every prompt answered by everyone who is compared, in batches on one engine; once by each, however many studies ask.

use std::collections::{BTreeMap, BTreeSet};

use super::config::EvaluationGeneration;
use super::kept::Kept;
use super::news::{News, Tally};
use crate::error::TrainError;
use crate::generator::{Generator, Order, PooledSoup, Response, Sampling, answer_seed};
use crate::prompts::{Prompt, chat_tokens, instructed};
use crate::reward::{Answer, Gate, GateOptions, Text};
use crate::rollout::base_nll;

/// Answers made between two writes: what a crash costs at most, and two batches of the engine.
const GROUP: usize = 64;

/// Who answered: the parameters, and the instructions in the prompt.
pub(super) type Identity = (String, Vec<String>);

/// Who answers, and what is appended to the prompt.
#[derive(Clone)]
pub(super) struct Speaker {
    pub(super) soup: PooledSoup,
    pub(super) instructions: Vec<String>,
}

impl Speaker {
    pub(super) fn identity(&self) -> Identity {
        (self.soup.id(), self.instructions.clone())
    }
}

/// An answer to one prompt.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    /// Whether it ended by itself.
    pub(super) ended: bool,
    /// Negative log-likelihood a token under the base, for the prompt without instructions, in nats.
    pub(super) base_nll: f64,
    /// The content gate, 0 to 1.
    pub(super) gate: f64,
}

impl Reply {
    pub(super) fn new(prompt: &Prompt, text: String, ended: bool, base_nll: f64) -> Self {
        let answer = Answer { prompt: &prompt.text, text: &text, ended, base_nll };
        let gate = Gate::of(answer, &Text::new(&text), &[], &GateOptions::default()).value();
        Self { text, ended, base_nll, gate }
    }
}

/// The answers of one speaker to one prompt, draw by draw.
pub(super) type Replies = Vec<Reply>;

/// Which of a speaker's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The prompt's number, from 0.
    pub(super) prompt: usize,
    /// The number among the answers to that prompt, from 0.
    pub(super) draw: usize,
}

impl Place {
    /// The seed of its draws, the same for all speakers; the first answer's is that of an evaluation that asks for one.
    fn seed(self, seed: u64) -> u64 {
        let Self { prompt, draw } = self;
        match draw {
            0 => answer_seed(&[seed, prompt as u64]),
            _ => answer_seed(&[seed, prompt as u64, draw as u64]),
        }
    }
}

/// What answers are made with.
pub(super) struct Kitchen<'a> {
    pub(super) generator: &'a Generator,
    pub(super) prompts: &'a [Prompt],
    pub(super) generation: &'a EvaluationGeneration,
    pub(super) kept: Kept,
}

/// The answers of every speaker to all prompts.
pub(super) struct Answers(BTreeMap<Identity, Vec<Replies>>);

impl Answers {
    /// Those of `speaker` to each prompt; none for one who was not asked.
    pub(super) fn of(&self, speaker: &Speaker) -> &[Replies] {
        self.0.get(&speaker.identity()).map_or(&[], Vec::as_slice)
    }
}

/// An answer that is to be made: whose, and which.
type Asked<'a> = (&'a Speaker, Place);

impl Kitchen<'_> {
    /// The answers of all speakers of `studies` to all prompts.
    pub(super) fn answer(
        mut self,
        studies: &[(&'static str, Vec<&Speaker>)],
        tell: &mut dyn FnMut(News),
    ) -> Result<Answers, TrainError> {
        let draws = self.generation.answers_per_prompt;
        let places = (0..self.prompts.len()).flat_map(|prompt| (0..draws).map(move |draw| Place { prompt, draw }));
        let places: Vec<Place> = places.collect();
        let mut due: BTreeSet<Identity> =
            studies.iter().flat_map(|(_, speakers)| speakers).map(|speaker| speaker.identity()).collect();
        let all = due.len() * places.len();
        tell(News::Begun { taken_up: due.iter().map(|speaker| self.kept.count(speaker)).sum(), all });
        for (study, speakers) in studies {
            let (mut wanted, mut tally) = (Vec::new(), Tally::default());
            for &speaker in speakers {
                let identity = speaker.identity();
                if due.remove(&identity) {
                    tally.taken_up += self.kept.count(&identity);
                    let missing = places.iter().filter(|place| !self.kept.has(&identity, **place));
                    wanted.extend(missing.map(|place| (speaker, *place)));
                } else {
                    tally.shared += places.len();
                }
            }
            tally.made = wanted.len();
            for asked in wanted.chunks(GROUP) {
                let replies = asked.iter().zip(self.ask(asked)?);
                let answers = replies.map(|(&(speaker, place), reply)| (speaker.identity(), place, reply));
                self.kept.append(answers.collect())?;
                tell(News::Made(asked.len()));
            }
            tell(News::Answered { study, tally });
        }
        Ok(Answers(self.kept.into_replies()))
    }

    fn ask(&self, asked: &[Asked<'_>]) -> Result<Vec<Reply>, TrainError> {
        let &EvaluationGeneration { max_new_tokens, answers_per_prompt: _, seed, resamples: _ } = self.generation;
        let mut orders = Vec::with_capacity(asked.len());
        for &(Speaker { soup, instructions }, place) in asked {
            let instructions: Vec<&str> = instructions.iter().map(String::as_str).collect();
            let turns = instructed(&self.prompts[place.prompt].turns, &instructions);
            let prompt = chat_tokens(self.generator.checkpoint(), &turns)?;
            let sampling = Sampling::plain(max_new_tokens, place.seed(seed));
            orders.push(Order { prompt, soup: soup.clone(), sampling });
        }
        let responses = self.generator.answer(&orders)?;
        let reply = |(&(_, place), response): (&Asked<'_>, _)| self.reply(&self.prompts[place.prompt], &response);
        asked.iter().zip(responses).map(reply).collect()
    }

    fn reply(&self, prompt: &Prompt, response: &Response) -> Result<Reply, TrainError> {
        let log_probs = self.generator.base_log_probs(&prompt.tokens, &response.tokens)?;
        let log_probs: Vec<f64> = log_probs.into_iter().map(f64::from).collect();
        let text = self.generator.checkpoint().tokenizer().decode(&response.tokens);
        Ok(Reply::new(prompt, text, response.ended, base_nll(&log_probs)))
    }
}
