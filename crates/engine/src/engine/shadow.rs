//! Work that nobody waits for.

use super::{Engine, Submission};
use crate::event::PathChoice;
use crate::generation::Generation;
use crate::scheduler::Rank;

impl Engine {
    /// Computes what nobody waits for, on the gate. It takes rows, prompt tokens and pages that no request wants, keeps no
    /// prefix, and gives all of it up when one does: it ends with
    /// [`GenerationError::Displaced`](crate::GenerationError::Displaced) then. A step that it has rows in takes longer, and
    /// that is all that requests can notice of it.
    ///
    /// `None` when there is no place for it now, the gate does not serve its soup, or it could not be submitted at all.
    #[must_use]
    pub fn shadow(&self, submission: Submission) -> Option<Generation> {
        let Submission { pool, soup, .. } = &submission;
        let on_gate =
            soup.is_base() || (pool.supports_gate(soup) && self.0.gates(pool).is_ok_and(|gates| gates.serves(soup)));
        let submission = Submission { path: PathChoice::Gate, ..submission };
        on_gate.then(|| self.enter(submission, Rank::Shadow).ok()).flatten()
    }
}
