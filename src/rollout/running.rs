//! A roll-out that is running.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tureen_engine::Beside;
use tureen_soup::Pool;

use super::{Outcomes, Share};

/// A roll-out as it is now. Requests keep the one that they began with.
pub struct Running {
    beside: Arc<Beside>,
    pub(super) plan: Plan,
    /// Unix time in seconds.
    since: u64,
    pub(super) outcomes: Arc<Outcomes>,
    /// Fires at its end.
    pub(super) over: CancellationToken,
}

/// Who gets the candidate, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The requests.
    pub share: Share,
    /// The stable revision answers them, and the candidate generates as well, for nobody.
    pub shadow: bool,
}

impl Plan {
    /// Nobody gets it.
    pub fn nobody() -> Self {
        Self { share: Share::Percent(0.0), shadow: false }
    }
}

impl Running {
    /// A candidate that began at `since`, of which nothing is known yet.
    pub(super) fn new(beside: Beside, plan: Plan, since: u64) -> Self {
        let (beside, over) = (Arc::new(beside), CancellationToken::new());
        Self { beside, plan, since, outcomes: Arc::default(), over }
    }

    /// The same with another plan.
    pub(super) fn with(&self, plan: Plan) -> Self {
        let Self { beside, plan: _, since, outcomes, over } = self;
        let (beside, outcomes, over) = (beside.clone(), outcomes.clone(), over.clone());
        Self { beside, plan, since: *since, outcomes, over }
    }

    /// The candidate.
    pub fn pool(&self) -> &Arc<Pool> {
        self.beside.pool()
    }

    /// Bytes of the memory budget that it takes.
    pub fn bytes(&self) -> u64 {
        self.beside.bytes()
    }

    /// Who gets it, and how.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Unix time of the begin, in seconds.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// How generations of both revisions ended.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }
}
