//! Why a preference has no soup.

use crate::{Method, PolicyId};

/// Why a preference is refused. Each has a stable [`code`](PreferenceError::code).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreferenceError {
    /// A policy that the pool does not have.
    #[error("there is no policy {name:?}; known: {}", list(known))]
    UnknownPolicy {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<PolicyId>,
    },
    /// Not a map of names with finite weights of at least 0.
    #[error("{0}")]
    Invalid(String),
    /// Names, but no weight above 0.
    #[error("every weight is 0: give one policy more, or an empty preference for the base")]
    ZeroWeights,
    /// `normalize` is off and the weights do not sum to 1.
    #[error("the weights sum to {sum}, not to 1: correct them, or leave `normalize` on")]
    NotNormalised {
        /// Their sum.
        sum: f64,
    },
    /// A strength outside [0, 4].
    #[error("strength {0} is not between 0 and 4")]
    InvalidStrength(f64),
    /// A density outside (0, 1].
    #[error("density {0} is not above 0 and at most 1")]
    InvalidDensity(f64),
    /// A method between two policies.
    #[error("{method} mixes two policies, and {given} have a weight above 0")]
    NeedsTwoPolicies {
        /// The method.
        method: Method,
        /// How many have a weight.
        given: usize,
    },
    /// A method on factors, for a policy that has none.
    #[error("{method} works on LoRA policies, and {policy} is a full-weight one: use linear")]
    MethodNotForKind {
        /// The method.
        method: Method,
        /// The policy.
        policy: PolicyId,
    },
    /// Renormalising is for methods whose change has a known norm.
    #[error("renormalize is for exact and linear, not for {0}")]
    RenormalizeMethod(Method),
    /// Policies that nearly cancel would be scaled up beyond every strength; NaN when a norm is not known.
    #[error("renormalizing takes strength {0}, which is not between 0 and 4")]
    RenormalizeStrength(f64),
    /// A method that is not built yet.
    #[error("the method {0} is not supported in this version")]
    MethodNotSupported(Method),
}

impl PreferenceError {
    /// A stable word for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownPolicy { .. } => "unknown_policy",
            Self::Invalid(_) => "invalid_preference",
            Self::ZeroWeights => "zero_weights",
            Self::NotNormalised { .. } => "not_normalised",
            Self::InvalidStrength(_) => "invalid_strength",
            Self::InvalidDensity(_) => "invalid_density",
            Self::NeedsTwoPolicies { .. } => "method_needs_two_policies",
            Self::MethodNotForKind { .. } => "method_not_for_kind",
            Self::RenormalizeMethod(_) => "renormalize_not_for_method",
            Self::RenormalizeStrength(_) => "renormalize_out_of_range",
            Self::MethodNotSupported(_) => "method_not_supported",
        }
    }
}

fn list(known: &[PolicyId]) -> String {
    match known {
        [] => "none, the pool is empty".to_owned(),
        _ => known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}
