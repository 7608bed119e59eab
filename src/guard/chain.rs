//! The checks, as the configuration means them.

use std::sync::Arc;

use super::moderation::Moderation;
use super::pattern::Pattern;

/// What is done about a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is counted and recorded, nothing else.
    Allow,
    /// Something else stands in its place.
    Redact,
    /// The request is refused, or the answer ends before it.
    Block,
    /// A person decides.
    Hold,
}

impl Action {
    pub(super) const ALL: [Self; 4] = [Self::Allow, Self::Redact, Self::Block, Self::Hold];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Redact => "redact",
            Self::Block => "block",
            Self::Hold => "hold",
        }
    }
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The messages of a request.
    Input,
    /// An answer.
    Output,
}

impl Side {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// One check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: Arc<str>,
    pub(super) input: bool,
    pub(super) output: bool,
    pub(super) action: Action,
    pub(super) kind: Kind,
}

/// How a check looks.
#[derive(Debug)]
pub(super) enum Kind {
    /// For patterns, one after another, with what stands in place of a match.
    Patterns(Vec<(Arc<Pattern>, Arc<str>)>),
    /// By asking an endpoint.
    Moderation(Moderation),
    /// At how far the soup moves from the base.
    Drift(f64),
}

/// All checks, in their order.
#[derive(Debug, Clone)]
pub struct Chain(pub(super) Arc<[Check]>);

impl Chain {
    /// Whether anything on this side is checked.
    pub fn covers(&self, side: Side) -> bool {
        self.on(side).next().is_some()
    }

    /// Whether a person may have to decide about what is on this side.
    pub(super) fn holds(&self, side: Side) -> bool {
        self.on(side).any(|check| check.action == Action::Hold)
    }

    pub(super) fn on(&self, side: Side) -> impl Iterator<Item = &Check> {
        self.0.iter().filter(move |check| match side {
            Side::Input => check.input,
            Side::Output => check.output,
        })
    }
}
