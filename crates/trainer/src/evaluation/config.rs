//! What is evaluated, and by whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tureen_soup::Pool;

use crate::annotate::{AnnotatorOptions, Measures};
use crate::config::{ModelOptions, read_checked};
use crate::error::TrainError;
use crate::reward::{Measure, MeasureOptions};

/// Most combinations: one pole of each dimension makes 8 of the method's eight preferences.
const MOST: usize = 64;

/// Most answers to each prompt.
const MOST_ANSWERS: usize = 64;

/// An evaluation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Folder of `evaluation.json` and `evaluation.html`, and of a judge's verdicts.
    pub out: PathBuf,
    /// The pool whose policies are mixed.
    pub pool: PathBuf,
    /// Policies that are mixed with others; none means all. The rest is evaluated alone.
    #[serde(default)]
    pub mixed: Vec<String>,
    /// The base.
    pub model: ModelOptions,
    /// What is asked.
    #[serde(default)]
    pub prompts: EvaluationPrompts,
    /// How it is answered.
    #[serde(default)]
    pub generation: EvaluationGeneration,
    /// What is compared; without any: the base, prompting, and soups.
    #[serde(default)]
    pub methods: BTreeMap<String, MethodOptions>,
    /// What the answers are scored by, for each policy.
    #[serde(default)]
    pub scores: BTreeMap<String, MeasureOptions>,
    /// Who compares answers, for each policy: never what trained it.
    #[serde(default)]
    pub judges: BTreeMap<String, AnnotatorOptions>,
    /// What trained a policy, where its file does not say: names such as "judge MODEL" or "rule friendly".
    #[serde(default)]
    pub trained_by: BTreeMap<String, Vec<String>>,
    /// What a policy costs, for the table.
    #[serde(default)]
    pub cost: CostOptions,
}

/// The prompts of an evaluation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationPrompts {
    /// A prompt file; none means the built-in held-out prompts.
    pub file: Option<PathBuf>,
    /// What they are called in the report.
    pub name: String,
    /// Longer prompts are left out.
    pub max_prompt_tokens: usize,
}

impl Default for EvaluationPrompts {
    fn default() -> Self {
        Self { file: None, name: "the built-in held-out prompts".into(), max_prompt_tokens: 40 }
    }
}

/// How prompts are answered: at temperature 1, every method with the same draws.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationGeneration {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Answers to each prompt, each with draws of its own: the more, the less of chance is in what a prompt shows.
    pub answers_per_prompt: usize,
    /// Seed of the draws, and of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
}

impl Default for EvaluationGeneration {
    fn default() -> Self {
        Self { max_new_tokens: 64, answers_per_prompt: 1, seed: 7, resamples: 2000 }
    }
}

/// A way of answering for a combination of preferences.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MethodOptions {
    /// The base, whatever is wished.
    Base,
    /// The base, with the instructions in the prompt.
    Prompting,
    /// The exact soup of the combination's policies, equal shares.
    Soup {
        /// Scale of the whole change, 0 to 4.
        #[serde(default = "one")]
        strength: f64,
    },
    /// One policy for all combinations.
    Policy {
        /// Its pool.
        pool: PathBuf,
        /// Its name there.
        policy: String,
        /// Whether the prompt holds the instructions.
        #[serde(default)]
        prompted: bool,
    },
}

fn one() -> f64 {
    1.0
}

/// What a policy costs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CostOptions {
    /// CPU-hours of one policy, instead of the mean that the policies' files tell.
    pub hours_per_policy: Option<f64>,
}

impl EvaluationConfig {
    /// Whether the policy is mixed with others.
    pub(super) fn mixes(&self, policy: &str) -> bool {
        self.mixed.is_empty() || self.mixed.iter().any(|mixed| mixed == policy)
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot be used.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let mut config: Self = read_checked(path, Self::check)?;
        if config.methods.is_empty() {
            let usual = [
                ("base", MethodOptions::Base),
                ("prompting", MethodOptions::Prompting),
                ("soup", MethodOptions::Soup { strength: 1.0 }),
            ];
            config.methods = usual.into_iter().map(|(name, method)| (name.to_owned(), method)).collect();
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let EvaluationGeneration { max_new_tokens, answers_per_prompt, seed: _, resamples } = self.generation;
        if max_new_tokens == 0 || !(100..=1_000_000).contains(&resamples) {
            return Err("generation: max_new_tokens must be at least 1, resamples from 100 to 1000000".into());
        }
        if !(1..=MOST_ANSWERS).contains(&answers_per_prompt) {
            return Err(format!("generation: answers_per_prompt must be from 1 to {MOST_ANSWERS}"));
        }
        if let Some(hours) = self.cost.hours_per_policy.filter(|hours| !hours.is_finite() || *hours <= 0.0) {
            return Err(format!("cost.hours_per_policy is {hours} and must be above 0"));
        }
        for (policy, judge) in &self.judges {
            judge.check().map_err(|message| format!("judges.{policy}.{message}"))?;
        }
        Ok(())
    }

    /// What scores answers for `policy`.
    pub(super) fn score_of(&self, policy: &str) -> Result<MeasureOptions, TrainError> {
        let given = self.scores.get(policy).copied();
        given.or_else(|| Some(usual_for(policy)?.0)).ok_or_else(|| missing("scores", policy))
    }

    /// Who compares answers for `policy`.
    pub(super) fn judge_of(&self, policy: &str) -> Result<AnnotatorOptions, TrainError> {
        let given = self.judges.get(policy).cloned();
        let usual = || Some(AnnotatorOptions::Measure(usual_for(policy)?.1));
        given.or_else(usual).ok_or_else(|| missing("judges", policy))
    }
}

fn missing(table: &str, policy: &str) -> TrainError {
    TrainError::Invalid(format!("nothing is known of {policy}: name its measure in [{table}.{policy}]"))
}

/// For the method's preferences: what scores, and the other measure that compares.
fn usual_for(policy: &str) -> Option<(MeasureOptions, Measures)> {
    let usual = |measure, higher, (judge, more, margin)| {
        (MeasureOptions { measure, higher }, Measures { measure: judge, higher: more, margin })
    };
    Some(match policy {
        "elementary" => usual(Measure::FleschKincaid, false, (Measure::ColemanLiau, false, 0.5)),
        "expert" => usual(Measure::FleschKincaid, true, (Measure::ColemanLiau, true, 0.5)),
        "concise" => usual(Measure::Words, false, (Measure::ContentWords, false, 1.0)),
        "informative" => usual(Measure::ContentWords, true, (Measure::CompressedBytes, true, 5.0)),
        "friendly" => usual(Measure::Friendliness, true, (Measure::Sentiment, true, 0.1)),
        "unfriendly" => usual(Measure::Unfriendliness, true, (Measure::Sentiment, false, 0.1)),
        "sassy" => usual(Measure::Sassiness, true, (Measure::Address, true, 0.5)),
        "sarcastic" => usual(Measure::Sarcasm, true, (Measure::Interjections, true, 0.05)),
        _ => return None,
    })
}

/// One pole of every dimension, in all ways, of those that are mixed; the poles are indices of the pool's policies.
pub(super) fn combinations(config: &EvaluationConfig, pool: &Pool) -> Result<Vec<Vec<usize>>, TrainError> {
    if let Some(missing) = config.mixed.iter().find(|policy| pool.index_of(policy).is_none()) {
        return Err(TrainError::Invalid(format!("mixed: the pool has no policy {missing:?}")));
    }
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for dimension in pool.dimensions() {
        let mixed = dimension.poles.iter().filter(|pole| config.mixes(pole.as_ref()));
        let poles: Vec<usize> = mixed.filter_map(|pole| pool.index_of(pole.as_ref())).collect();
        if poles.is_empty() {
            continue;
        }
        all = all.iter().flat_map(|some| poles.iter().map(|&pole| [some.as_slice(), &[pole]].concat())).collect();
        if all.len() > MOST {
            return Err(TrainError::Invalid(format!("the pool has over {MOST} combinations of one pole a dimension")));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use tureen_engine::Message;

    use super::usual_for;
    use crate::annotate::{Annotator, Choice, Comparison};

    #[test]
    fn the_usual_judges_prefer_what_shows_the_preference() {
        let plain =
            "The kettle heats the water in the kitchen until it boils, and then the kettle switches itself off.";
        let learned = "Electrical resistance dissipates considerable thermal energy, vaporising whatever liquid the kettle \
                       contains, whereupon an automatic thermostat interrupts the circuit.";
        let short = "The kettle boils the water in the kitchen and then it switches itself off again.";
        let warm =
            "What a lovely question! The kettle happily heats the water, and your friends will love the great tea.";
        let cold =
            "What a stupid question. The kettle heats the water, and you are lazy, useless and bad at boiling it.";
        let sassy =
            "Darling, your kettle boils your water when you tell it to, so you sit back while your kitchen serves you.";
        let mocking = "Oh, wow! How could a kettle boil the water? Hmm, is it magic? Oh no, it is only electricity!";
        let table = [
            ("elementary", plain, learned),
            ("expert", learned, plain),
            ("concise", short, learned),
            ("informative", learned, short),
            ("friendly", warm, plain),
            ("unfriendly", cold, plain),
            ("unfriendly", plain, warm),
            ("sassy", sassy, plain),
            ("sarcastic", mocking, plain),
        ];
        let prompt = [Message { role: "user".into(), content: "How does a kettle boil water?".into() }];
        for (policy, better, worse) in table {
            let mut judge = usual_for(policy).expect("it is one of the method's").1;
            let mut says = |answers| judge.compare(Comparison { prompt: &prompt, answers }).expect("no model is asked");
            assert_eq!(says([better, worse]), Choice::First, "{policy}: {better}");
            assert_eq!(says([worse, better]), Choice::Second, "{policy}: {worse}");
        }
    }
}
