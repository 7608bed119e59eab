//! A reward of several parts, each with its weight.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use super::{Gate, GateOptions, Reward, RuleReward, Scored, Scoring, Text};
use crate::config::RewardOptions;
use crate::error::TrainError;
use crate::model::Base;
use crate::reward_model::{RewardModel, sequence};

/// A part that is added to the rule's score.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PartOptions {
    /// A reward model of this base: about 0 for the base's own answers, with deviation 1.
    Model {
        /// What it counts.
        weight: f64,
        /// Its `reward_model.safetensors`.
        path: PathBuf,
    },
    /// The content gate alone, 0 to 1: any decent answer.
    Gate {
        /// What it counts.
        weight: f64,
    },
    /// 1 for an answer of this many tokens, falling to 0 at none and at twice as many.
    Length {
        /// What it counts.
        weight: f64,
        /// The wanted length, in tokens.
        tokens: f64,
    },
    /// -1 for an answer that was cut off.
    NoEos {
        /// What it counts.
        weight: f64,
    },
}

/// What adds its value to a [`RewardSum`].
pub enum Part {
    /// A rule, 0 to 1.
    Rule(RuleReward),
    /// A reward model.
    Model(Box<RewardModel>),
    /// A content gate, 0 to 1.
    Gate(GateOptions),
    /// A wanted length, in tokens.
    Length(f64),
    /// A penalty of 1 for answers without an end.
    NoEos,
}

/// `sum_i weight_i part_i`. Measure and gate are those of the first rule; without one they are the score, and 1.
pub struct RewardSum {
    /// The parts with their weights.
    pub parts: Vec<(f64, Part)>,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
}

impl RewardSum {
    /// The parts that a configuration names, for the base of `checkpoint`.
    ///
    /// # Errors
    /// A reward model that cannot be read or is of another base.
    pub fn configured(options: RewardOptions, base: &Base, checkpoint: &Checkpoint) -> Result<Self, TrainError> {
        let RewardOptions { rule, weight, preference_power, gate, parts: further } = options;
        let rule =
            rule.map(|rule| (weight, Part::Rule(RuleReward { rule, power: preference_power, gate: gate.clone() })));
        let mut parts: Vec<(f64, Part)> = rule.into_iter().collect();
        for part in further {
            parts.push(match part {
                PartOptions::Model { weight, path } => {
                    (weight, Part::Model(Box::new(RewardModel::read(&path, base, checkpoint)?)))
                }
                PartOptions::Gate { weight } => (weight, Part::Gate(gate.clone())),
                PartOptions::Length { weight, tokens } => (weight, Part::Length(tokens)),
                PartOptions::NoEos { weight } => (weight, Part::NoEos),
            });
        }
        Ok(Self { parts, ends: checkpoint.config().eos_token_ids.clone() })
    }
}

impl Reward for RewardSum {
    fn score_all(&self, base: &Base, rows: &[Scoring<'_>]) -> candle_core::Result<Vec<Scored>> {
        let mut sums = vec![0.0; rows.len()];
        let mut rule: Option<Vec<Scored>> = None;
        for (weight, part) in &self.parts {
            let values: Vec<f64> = match part {
                Part::Rule(reward) => {
                    let scored = reward.score_all(base, rows)?;
                    let values = scored.iter().map(|scored| scored.score).collect();
                    rule.get_or_insert(scored);
                    values
                }
                Part::Model(model) => {
                    let row = |row: &Scoring<'_>| sequence(&self.ends, row.prompt, row.response);
                    model.rewards(base, &rows.iter().map(row).collect::<Vec<_>>())?
                }
                Part::Gate(gate) => {
                    let open = |row: &Scoring<'_>| Gate::of(row.answer, &Text::new(row.answer.text), &[], gate).value();
                    rows.iter().map(open).collect()
                }
                Part::Length(tokens) => {
                    let near = |row: &Scoring<'_>| (1.0 - (row.response.len() as f64 / tokens - 1.0).abs()).max(0.0);
                    rows.iter().map(near).collect()
                }
                Part::NoEos => rows.iter().map(|row| if row.answer.ended { 0.0 } else { -1.0 }).collect(),
            };
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        let scored = sums.into_iter().enumerate().map(|(row, score)| match &rule {
            Some(rule) => Scored { score, ..rule[row] },
            None => Scored { score, measure: score, gate: 1.0 },
        });
        Ok(scored.collect())
    }
}
