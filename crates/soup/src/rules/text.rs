//! Rules as they are written, in a configuration or with a key.

use serde::{Deserialize, Serialize};

use super::{Outside, Rules};
use crate::{Method, PolicyId};

/// Pairs that one set of rules may forbid: the nearest allowed soup is sought among all ways to break them up.
const PAIRS: usize = 6;

/// Bounds that one set of rules may have.
const BOUNDS: usize = 512;

/// Rules as text and numbers. What is left out allows everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesText {
    /// `refuse` or `project`: what happens to preferences outside.
    pub outside: String,
    /// `POLICY >= NUMBER` and `POLICY <= NUMBER`, of weight times strength.
    pub weights: Vec<String>,
    /// `POLICY + POLICY`
    pub forbidden_pairs: Vec<String>,
    /// Allowed methods; empty allows all.
    pub methods: Vec<String>,
    /// The most strength.
    pub max_strength: f64,
    /// The furthest from the base; 0 is no bound.
    pub max_drift: f64,
    /// `refuse` or `shrink`: what happens to soups that are further.
    pub over_drift: String,
}

impl Default for RulesText {
    fn default() -> Self {
        Self {
            outside: "refuse".into(),
            weights: Vec::new(),
            forbidden_pairs: Vec::new(),
            methods: Vec::new(),
            max_strength: 4.0,
            max_drift: 0.0,
            over_drift: "refuse".into(),
        }
    }
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidRule {
    /// Which part of the rules.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl TryFrom<RulesText> for Rules {
    type Error = InvalidRule;

    fn try_from(text: RulesText) -> Result<Self, InvalidRule> {
        let RulesText { outside, weights, forbidden_pairs, methods, max_strength, max_drift, over_drift } = text;
        let mut rules = Self {
            outside: choice("outside", &outside, "project")?,
            over_drift: choice("over_drift", &over_drift, "shrink")?,
            ..Self::default()
        };
        if !(0.0..=4.0).contains(&max_strength) {
            return Err(wrong("max_strength", format!("{max_strength} is not between 0 and 4")));
        }
        rules.max_strength = max_strength;
        if !(max_drift >= 0.0 && max_drift.is_finite()) {
            return Err(wrong("max_drift", format!("{max_drift} is not 0 or more")));
        }
        rules.max_drift = (max_drift > 0.0).then_some(max_drift);
        if weights.len() > BOUNDS || forbidden_pairs.len() > PAIRS {
            return Err(wrong("forbidden_pairs", format!("at most {PAIRS} pairs and {BOUNDS} weights")));
        }
        for bound in &weights {
            rules.add_bound(bound)?;
        }
        for pair in &forbidden_pairs {
            let (first, second) = pair.split_once('+').ok_or_else(|| not_a_pair(pair))?;
            let (first, second) = (name("forbidden_pairs", first)?, name("forbidden_pairs", second)?);
            if first == second {
                return Err(not_a_pair(pair));
            }
            rules.forbidden.insert((first.clone().min(second.clone()), first.max(second)));
        }
        if !methods.is_empty() {
            let method = |text: &String| text.parse::<Method>().map_err(|e| wrong("methods", e.to_string()));
            rules.methods = Some(methods.iter().map(method).collect::<Result<_, _>>()?);
        }
        Ok(rules)
    }
}

impl Rules {
    fn add_bound(&mut self, text: &str) -> Result<(), InvalidRule> {
        let form = || wrong("weights", format!("{text:?} is not POLICY >= NUMBER or POLICY <= NUMBER"));
        let (policy, number, is_least) = match (text.split_once(">="), text.split_once("<=")) {
            (Some((policy, number)), None) => (policy, number, true),
            (None, Some((policy, number))) => (policy, number, false),
            _ => return Err(form()),
        };
        let number: f64 = number.trim().parse().map_err(|_| form())?;
        if !(0.0..=4.0).contains(&number) {
            return Err(wrong("weights", format!("{text:?}: a bound is from 0 to 4")));
        }
        let bounds = self.bounds.entry(name("weights", policy)?).or_insert((0.0, f64::INFINITY));
        let bound = if is_least { &mut bounds.0 } else { &mut bounds.1 };
        *bound = if is_least { bound.max(number) } else { bound.min(number) };
        if bounds.0 > bounds.1 {
            return Err(wrong("weights", format!("{text:?}: no weight is left for this policy")));
        }
        Ok(())
    }
}

fn choice(key: &'static str, text: &str, other: &str) -> Result<Outside, InvalidRule> {
    match text {
        "refuse" => Ok(Outside::Refuse),
        _ if text == other => Ok(Outside::Project),
        _ => Err(wrong(key, format!("{text:?} is neither \"refuse\" nor {other:?}"))),
    }
}

fn name(key: &'static str, text: &str) -> Result<String, InvalidRule> {
    let id =
        PolicyId::parse(text.trim()).ok_or_else(|| wrong(key, format!("{:?} is no policy's name", text.trim())))?;
    Ok(id.to_string())
}

fn not_a_pair(text: &str) -> InvalidRule {
    wrong("forbidden_pairs", format!("{text:?} is not POLICY + OTHER"))
}

fn wrong(key: &'static str, reason: String) -> InvalidRule {
    InvalidRule { key, reason }
}
