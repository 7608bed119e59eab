//! Options of a merge.

use serde::{Deserialize, Serialize};

use crate::Method;

/// How a preference becomes a soup. Checked by [`Pool::soup`](crate::Pool::soup).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeOptions {
    /// The method; `exact` by default.
    pub method: Method,
    /// Scale the weights to sum to 1 (the default). With `false`, a sum further than 1e-3 from 1 is refused.
    pub normalize: bool,
    /// Scales the whole change, in [0, 4]; 1 by default.
    pub strength: f64,
    /// What the strength is scaled by before it is used.
    #[serde(skip_serializing_if = "Renormalize::is_none")]
    pub renormalize: Renormalize,
    /// Share of each policy's change that `ties` and `dare_*` keep, in (0, 1]; 0.5 by default.
    pub density: f64,
    /// Seed of the choice that `dare_*` makes; 0 by default.
    pub seed: u64,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            method: Method::Exact,
            normalize: true,
            strength: 1.0,
            renormalize: Renormalize::None,
            density: 0.5,
            seed: 0,
        }
    }
}

/// What a strength is scaled by before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renormalize {
    /// Nothing.
    #[default]
    None,
    /// What keeps the norm of the soup's change at the weighted mean of its policies' norms. Of `exact` and `linear`.
    Drift,
}

impl Renormalize {
    /// Whether it is [`Self::None`].
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}
