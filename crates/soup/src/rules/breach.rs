//! What a preference does that rules forbid.

use crate::{Method, PreferenceError};

/// One rule that a preference does not keep. Weights are those that act: weight times strength.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A method that is not among the allowed ones.
    #[error("the merge method {0} is not allowed here")]
    Method(Method),
    /// The strength is over its bound.
    #[error("strength {asked} is over {most}")]
    Strength {
        /// What was asked for.
        asked: f64,
        /// The bound.
        most: f64,
    },
    /// A policy has less weight than it must.
    #[error("{policy} is asked for with {asked}, at least {least} is required")]
    Below {
        /// The policy.
        policy: String,
        /// Weight times strength.
        asked: f64,
        /// The bound.
        least: f64,
    },
    /// A policy has more weight than it may.
    #[error("{policy} is asked for with {asked}, at most {most} is allowed")]
    Above {
        /// The policy.
        policy: String,
        /// Weight times strength.
        asked: f64,
        /// The bound.
        most: f64,
    },
    /// Two policies that must not be mixed.
    #[error("{first} and {second} must not be mixed")]
    Pair {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// The soup moves further from the base than it may.
    #[error("the soup moves {drift:.6} from the base, at most {most} is allowed")]
    Drift {
        /// See [`Pool::drift`](crate::Pool::drift).
        drift: f64,
        /// The bound.
        most: f64,
    },
    /// No soup of this pool keeps all the rules.
    #[error("the rules cannot all be kept: {0}")]
    Unsatisfiable(String),
}

impl Breach {
    /// A stable word for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Method(_) => "merge_method_not_allowed",
            Self::Strength { .. } => "strength_over_rule",
            Self::Below { .. } => "weight_below_rule",
            Self::Above { .. } => "weight_above_rule",
            Self::Pair { .. } => "forbidden_pair",
            Self::Drift { .. } => "drift_exceeded",
            Self::Unsatisfiable(_) => "rules_unsatisfiable",
        }
    }
}

/// Why no soup was made of a preference.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Every rule that it breaks.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Broken(Vec<Breach>),
    /// What the rules leave of it is no soup: for instance `slerp` with a third policy that is required.
    #[error("what the rules leave of the preference cannot be served: {0}")]
    Preference(#[from] PreferenceError),
}

impl RulesError {
    /// Stable words for clients, one at least.
    pub fn codes(&self) -> Vec<&'static str> {
        match self {
            Self::Broken(breaches) if breaches.is_empty() => vec!["rules_unsatisfiable"],
            Self::Broken(breaches) => breaches.iter().map(Breach::code).collect(),
            Self::Preference(error) => vec![error.code()],
        }
    }
}
