//! What preferences may ask for: bounds for policies, pairs that must not meet, methods, strength, drift.
//!
//! Bounds are on the weight that acts, `v_i = strength · w_i`, so that no strength goes around them. The allowed soups
//! are those with `lower ≤ v ≤ upper`, at most one policy of each forbidden pair above 0, an allowed method, and a drift
//! within its bound. A preference outside is refused ([`Outside::Refuse`]), or served by the nearest one inside
//! ([`Outside::Project`]): see [`Rules::apply`].

mod apply;
mod breach;
mod project;
mod text;

use std::collections::{BTreeMap, BTreeSet};

pub use apply::Ruled;
pub use breach::{Breach, RulesError};
pub use text::{InvalidRule, RulesText};

use crate::{Method, Pool};

/// What happens to a preference that the rules forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Outside {
    /// It is served by the nearest one that they allow.
    Project,
    /// It is refused.
    #[default]
    Refuse,
}

/// Rules for soups. The default allows everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Policies with the least and the most of weight times strength.
    bounds: BTreeMap<String, (f64, f64)>,
    /// Each in the order of the names.
    forbidden: BTreeSet<(String, String)>,
    /// `None` allows all.
    methods: Option<BTreeSet<Method>>,
    max_strength: f64,
    max_drift: Option<f64>,
    outside: Outside,
    over_drift: Outside,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            bounds: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            methods: None,
            max_strength: f64::INFINITY,
            max_drift: None,
            outside: Outside::Refuse,
            over_drift: Outside::Refuse,
        }
    }
}

impl Rules {
    /// Rules that allow what both allow, and refuse where one of them does.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (policy, (least, most)) in &other.bounds {
            let bounds = both.bounds.entry(policy.clone()).or_insert((0.0, f64::INFINITY));
            *bounds = (bounds.0.max(*least), bounds.1.min(*most));
        }
        both.forbidden.extend(other.forbidden.iter().cloned());
        both.methods = match (both.methods, &other.methods) {
            (Some(ours), Some(theirs)) => Some(ours.intersection(theirs).copied().collect()),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        both.max_strength = both.max_strength.min(other.max_strength);
        both.max_drift = match (both.max_drift, other.max_drift) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        both.outside = both.outside.max(other.outside);
        both.over_drift = both.over_drift.max(other.over_drift);
        both
    }

    /// Policies that the rules name and `pool` does not have.
    pub fn unknown(&self, pool: &Pool) -> BTreeSet<String> {
        let pairs = self.forbidden.iter().flat_map(|(first, second)| [first, second]);
        self.bounds.keys().chain(pairs).filter(|name| pool.index_of(name).is_none()).cloned().collect()
    }
}
