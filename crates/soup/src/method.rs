//! How policies are mixed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A merge method; see [`merge`](crate::merge) for the equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Weighted sum of the policies' changes. LoRA policies only.
    #[default]
    Exact,
    /// Both factors averaged separately, as the paper's code does. LoRA policies only.
    Factor,
    /// Weighted sum of the changes, of policies of any kind.
    Linear,
    /// Trim, elect sign, disjoint mean (arXiv 2306.01708).
    Ties,
    /// Drop at random and rescale, then sum (arXiv 2311.03099).
    DareLinear,
    /// Drop at random and rescale, then elect signs as `ties` does.
    DareTies,
    /// Spherical interpolation between two policies.
    Slerp,
    /// Mixes log-probabilities instead of parameters (arXiv 2406.18853). Not supported yet.
    Logits,
}

/// A method name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no merge method: use exact, factor, linear, ties, dare_linear, dare_ties, slerp or logits")]
pub struct UnknownMethod(String);

impl Method {
    const ALL: [(Self, &str); 8] = [
        (Self::Exact, "exact"),
        (Self::Factor, "factor"),
        (Self::Linear, "linear"),
        (Self::Ties, "ties"),
        (Self::DareLinear, "dare_linear"),
        (Self::DareTies, "dare_ties"),
        (Self::Slerp, "slerp"),
        (Self::Logits, "logits"),
    ];

    /// Whether the factors of LoRA policies are all it needs.
    pub(crate) fn works_on_factors(self) -> bool {
        matches!(self, Self::Exact | Self::Factor)
    }

    /// Whether [`MergeOptions::density`](crate::MergeOptions::density) changes the result.
    pub(crate) fn uses_density(self) -> bool {
        matches!(self, Self::Ties | Self::DareLinear | Self::DareTies)
    }

    /// Whether [`MergeOptions::seed`](crate::MergeOptions::seed) changes the result.
    pub(crate) fn uses_seed(self) -> bool {
        matches!(self, Self::DareLinear | Self::DareTies)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::ALL.iter().find(|(method, _)| method == self).expect("ALL lists every method");
        f.pad(name)
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(method, _)| *method).ok_or_else(|| UnknownMethod(text.to_owned()))
    }
}
