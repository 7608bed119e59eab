//! An instruction set and a team: what every kernel needs.

use crate::{Isa, Team};

/// Runs the kernels. They are methods, one file each: a call is one phase of the team's work.
#[derive(Debug)]
pub struct Compute {
    isa: Isa,
    team: Team,
}

impl Compute {
    /// Kernels of `isa` on `team`.
    #[must_use]
    pub fn new(isa: Isa, team: Team) -> Self {
        Self { isa, team }
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    #[must_use]
    pub fn team(&self) -> &Team {
        &self.team
    }
}
