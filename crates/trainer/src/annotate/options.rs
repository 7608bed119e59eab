//! Annotators as configurations name them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::judge::{Judge, JudgeOptions};
use super::model::Labels;
use super::{Annotator, Human, Measures, ModelLabels, Rules};
use crate::error::TrainError;
use crate::reward::{GateOptions, Rule, RuleReward};

/// Who compares: one table, `rules`, `measure`, `human`, `model` or `judge`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnnotatorOptions {
    /// A rule with its content gate.
    Rules {
        /// The built-in rule.
        rule: Rule,
        /// A difference of scores (0 to 1) up to which neither answer is preferred.
        #[serde(default = "tenth")]
        margin: f64,
    },
    /// A measure of the text.
    Measure(Measures),
    /// Pairs that people made.
    Human {
        /// The pair file, of any shape that [`crate::pairs::read`] knows.
        pairs: PathBuf,
    },
    /// A reward model.
    Model(ModelLabels),
    /// A model behind an OpenAI-compatible endpoint.
    Judge(JudgeOptions),
}

fn tenth() -> f64 {
    0.1
}

impl AnnotatorOptions {
    /// Names the first value that cannot be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Rules { margin, .. } if !(0.0..1.0).contains(margin) => {
                Err("rules.margin must be from 0 to below 1".into())
            }
            Self::Measure(Measures { margin, .. }) if !margin.is_finite() || *margin < 0.0 => {
                Err("measure.margin must not be negative".into())
            }
            Self::Model(ModelLabels { margin, max_length, .. }) => {
                if !margin.is_finite() || *margin < 0.0 || *max_length == 0 {
                    return Err("model.margin must not be negative, nor model.max_length 0".into());
                }
                Ok(())
            }
            Self::Judge(judge) => judge.check(),
            _ => Ok(()),
        }
    }

    /// What decides a verdict, and not how fast or dear it is.
    ///
    /// # Errors
    /// A file that decides and cannot be read.
    pub(crate) fn identity(&self) -> Result<String, TrainError> {
        Ok(match self {
            Self::Rules { rule, margin } => format!("rules {rule:?} margin {margin}"),
            Self::Measure(Measures { measure, higher, margin }) => {
                format!("measure {measure:?} higher {higher} margin {margin}")
            }
            Self::Human { pairs } => format!("human {}", sha256(pairs)?),
            Self::Model(ModelLabels { base: _, path, margin, max_length }) => {
                format!("reward model {} margin {margin}, at most {max_length} tokens", sha256(path)?)
            }
            Self::Judge(judge) => format!("judge {} seed {}: {}", judge.model, judge.seed, judge.criterion),
        })
    }

    /// Its short name: what a policy's file says that it was trained by.
    pub fn name(&self) -> String {
        match self {
            Self::Rules { rule, .. } => format!("rule {}", rule.name()),
            Self::Measure(Measures { measure, .. }) => format!("measure {}", measure.name()),
            Self::Human { .. } => "people".into(),
            Self::Model(_) => "reward model".into(),
            Self::Judge(judge) => format!("judge {}", judge.model),
        }
    }

    /// The annotator.
    ///
    /// # Errors
    /// A pair file or a reward model that cannot be used, or a judge that cannot be reached by its options.
    pub(crate) fn annotator(&self) -> Result<Box<dyn Annotator>, TrainError> {
        Ok(match self {
            Self::Rules { rule, margin } => {
                let reward = RuleReward { rule: *rule, power: 1.0, gate: GateOptions::default() };
                Box::new(Rules { reward, margin: *margin })
            }
            Self::Measure(measures) => Box::new(*measures),
            Self::Human { pairs } => Box::new(Human::read(pairs)?),
            Self::Model(options) => Box::new(Labels::load(options)?),
            Self::Judge(options) => Box::new(Judge::new(options.clone())?),
        })
    }
}

fn sha256(path: &Path) -> Result<String, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
