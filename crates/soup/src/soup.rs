//! One person's model: which policies, how much of each, mixed how.

use std::fmt;

use crate::hash::{Digest16, Hasher};
use crate::{MergeOptions, Method, Policy};

/// Names the content of a soup: equal ids are equal parameters. `s-` and 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoupId(Digest16);

/// Names the content of a pool: changes with every byte of it. `r-` and 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub(crate) Digest16);

impl fmt::Display for SoupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s-{}", self.0)
    }
}

impl fmt::Debug for SoupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}", self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A checked preference under a method and a pool's revision. Made by [`Pool::soup`](crate::Pool::soup).
#[derive(Debug, Clone, PartialEq)]
pub struct Soup {
    id: SoupId,
    revision: Revision,
    weights: Vec<f64>,
    options: MergeOptions,
}

impl Soup {
    /// `weights`: one for each of `policies`, checked.
    pub(crate) fn new(revision: Revision, policies: &[Policy], weights: Vec<f64>, options: MergeOptions) -> Self {
        let id = id(revision, policies, &weights, &options);
        Self { id, revision, weights, options }
    }

    /// Its name. Only what changes the parameters is part of it: a seed that nothing draws from is not, and every
    /// soup that changes nothing is the same one.
    pub fn id(&self) -> &SoupId {
        &self.id
    }

    /// The pool it was made from.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// How the policies are mixed.
    pub fn method(&self) -> Method {
        self.options.method
    }

    /// One weight for each policy of the pool, in the pool's order. They sum to 1 (within 1e-3 when `normalize` was
    /// off), or are all 0 for the empty preference.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Scale of the whole change, renormalised if that was asked for.
    pub fn strength(&self) -> f64 {
        self.options.strength
    }

    /// Share of each change that is kept.
    pub fn density(&self) -> f64 {
        self.options.density
    }

    /// Seed of what is drawn.
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// All options.
    pub fn options(&self) -> &MergeOptions {
        &self.options
    }

    /// Whether it is the base, unchanged: all weights are 0, or the strength is.
    pub fn is_base(&self) -> bool {
        is_base(&self.weights, &self.options)
    }

    /// Policies with a weight above 0: index in the pool and weight.
    pub(crate) fn active(&self) -> impl Iterator<Item = (usize, f64)> {
        self.weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0.0)
    }
}

fn is_base(weights: &[f64], options: &MergeOptions) -> bool {
    options.strength == 0.0 || weights.iter().all(|w| *w == 0.0)
}

fn id(revision: Revision, policies: &[Policy], weights: &[f64], options: &MergeOptions) -> SoupId {
    // Without `..`: a new option cannot be forgotten here.
    // Renormalising is over: the strength is the one that acts.
    let MergeOptions { method, normalize, strength, renormalize: _, density, seed } = options;
    let mut hasher = Hasher::new("tureen soup 1").field(revision.to_string().as_bytes());
    if !is_base(weights, options) {
        hasher = hasher.field(method.to_string().as_bytes()).number(*strength);
        // Without `normalize`, what the weights sum to is part of the mathematics.
        hasher = hasher.number(if *normalize { 1.0 } else { weights.iter().sum() });
        hasher = hasher.number(if method.uses_density() { *density } else { 1.0 });
        hasher = hasher.field(&if method.uses_seed() { *seed } else { 0 }.to_le_bytes());
        for (policy, weight) in policies.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            hasher = hasher.field(policy.id().as_ref().as_bytes()).number(*weight);
        }
    }
    SoupId(hasher.finish())
}
