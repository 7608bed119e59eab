//! The experts of a pool.

use std::fmt;

use crate::{FullPolicy, LoraPolicy};

/// A policy's name: a lower-case letter or digit, then up to 63 of `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

impl PolicyId {
    /// `None` when `text` is not a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = word(first) && text.len() <= 64 && text.bytes().all(|b| word(b) || b == b'_' || b == b'-');
        valid.then(|| Self(text.to_owned()))
    }
}

impl AsRef<str> for PolicyId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An axis of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Its name, such as `expertise`.
    pub id: String,
    /// The policies of the pool that are its poles, in the manifest's order.
    pub poles: Vec<PolicyId>,
}

/// One expert: a change of the base, trained for one preference.
#[derive(Debug)]
pub struct Policy {
    pub(crate) id: PolicyId,
    pub(crate) code: String,
    pub(crate) dimension: String,
    pub(crate) instruction: String,
    pub(crate) license: String,
    pub(crate) weights: PolicyWeights,
}

/// What a policy is made of.
#[derive(Debug)]
pub enum PolicyWeights {
    /// Low-rank factors, in memory.
    Lora(LoraPolicy),
    /// A whole checkpoint of its own, mapped from its files.
    Full(FullPolicy),
}

impl Policy {
    /// The name used in preferences.
    pub fn id(&self) -> &PolicyId {
        &self.id
    }

    /// The preference's code in the paper, such as `P2A`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The dimension it is a pole of.
    pub fn dimension(&self) -> &str {
        &self.dimension
    }

    /// What it was trained to do.
    pub fn instruction(&self) -> &str {
        &self.instruction
    }

    /// SPDX name of the licence its weights are under.
    pub fn license(&self) -> &str {
        &self.license
    }

    /// Its weights.
    pub fn weights(&self) -> &PolicyWeights {
        &self.weights
    }

    pub(crate) fn lora(&self) -> Option<&LoraPolicy> {
        match &self.weights {
            PolicyWeights::Lora(lora) => Some(lora),
            PolicyWeights::Full(_) => None,
        }
    }

    pub(crate) fn full(&self) -> Option<&FullPolicy> {
        match &self.weights {
            PolicyWeights::Lora(_) => None,
            PolicyWeights::Full(full) => Some(full),
        }
    }
}
