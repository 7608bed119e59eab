//! What `/admin/rollout` takes and answers.

use serde::{Deserialize, Serialize};
use tureen_soup::Pool;
use utoipa::ToSchema;

use crate::config::Limits;
use crate::extract::{Validate, invalid_user};
use crate::problem::ApiError;
use crate::rollout::{Arm, Count, Ended, Mark, Plan, Rollout, Running, Share};
use crate::store::UserId;

/// Most users that can be named.
const MAX_USERS: usize = 10_000;

/// Who is to be served by the candidate. Unknown fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"revision": "r-0123456789abcdef0123456789abcdef", "percent": 5}))]
pub struct RolloutRequest {
    /// The candidate's revision: what the folder must hold, and what must be running already when something changes.
    pub revision: String,
    /// So many of a hundred users, chosen by a hash. 100 makes the candidate the stable revision, without `shadow`.
    #[schema(minimum = 0.0, maximum = 100.0)]
    pub percent: Option<f64>,
    /// Instead of `percent`: these users, whichever owner's they are; 10 000 at the most.
    pub users: Option<Vec<String>>,
    /// Answer all with the stable revision, and generate for these users with the candidate as well, for nobody to see.
    #[serde(default)]
    pub shadow: bool,
    /// Make the candidate the stable revision, for everybody.
    #[serde(default)]
    pub promote: bool,
}

/// A checked [`RolloutRequest`].
#[derive(Debug)]
pub struct RolloutOrder {
    /// The candidate's revision.
    pub revision: String,
    /// Who gets it; `None` for everybody, for good.
    pub plan: Option<Plan>,
}

impl Validate for RolloutRequest {
    type Valid = RolloutOrder;

    fn validate(self, _: &Limits) -> Result<RolloutOrder, ApiError> {
        let Self { revision, percent, users, shadow, promote } = self;
        let share = match (percent, users, promote) {
            (None, None, true) if shadow => {
                return Err(ApiError::invalid("invalid_field", "shadow", "a shadow is not promoted"));
            }
            (None, None, true) => None,
            (Some(percent), None, false) if percent == 100.0 && !shadow => None,
            (Some(percent), None, false) if (0.0..=100.0).contains(&percent) => Some(Share::Percent(percent)),
            (Some(_), None, false) => {
                return Err(ApiError::invalid("invalid_field", "percent", "percent is a number from 0 to 100"));
            }
            (None, Some(users), false) => Some(self::users(&revision, &users)?),
            _ => {
                let detail = "send one of percent, users and promote: true";
                return Err(ApiError::invalid("invalid_field", "percent", detail));
            }
        };
        Ok(RolloutOrder { revision, plan: share.map(|share| Plan { share, shadow }) })
    }
}

fn users(revision: &str, names: &[String]) -> Result<Share, ApiError> {
    if names.is_empty() || names.len() > MAX_USERS {
        return Err(ApiError::invalid("invalid_field", "users", format!("name 1 to {MAX_USERS} users")));
    }
    let user = |(index, name): (usize, &String)| {
        let user = UserId::new(name).ok_or_else(|| invalid_user().at(&format!("users[{index}]")))?;
        Ok(Mark::new(revision, &user))
    };
    names.iter().enumerate().map(user).collect::<Result<_, _>>().map(Share::Users)
}

/// Which revisions are served.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutView {
    /// The revision for whoever is not chosen.
    pub stable: String,
    /// The roll-out that is running.
    pub candidate: Option<CandidateView>,
    /// The last one that ended.
    pub last: Option<EndedView>,
}

/// A roll-out that is running.
#[derive(Debug, Serialize, ToSchema)]
pub struct CandidateView {
    /// The candidate's revision.
    pub revision: String,
    /// Policies in it.
    pub policies: usize,
    /// Bytes of the memory budget that it takes.
    pub bytes: u64,
    /// So many of a hundred users get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// So many users are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<usize>,
    /// Whether nobody sees what it generates.
    pub shadow: bool,
    /// Unix time of the begin, in seconds.
    pub since: u64,
    /// How the last generations of both revisions ended.
    pub outcomes: OutcomesView,
}

/// Outcomes of both revisions since the roll-out began.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomesView {
    /// Of the stable revision.
    pub stable: CountView,
    /// Of the candidate.
    pub candidate: CountView,
}

/// Outcomes of the last generations.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountView {
    /// Generations that ended by themselves.
    pub requests: usize,
    /// Those of them that failed.
    pub errors: usize,
    /// Their share, 0 to 1.
    pub error_rate: f64,
}

/// A roll-out that is over.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedView {
    /// The candidate's revision.
    pub revision: String,
    /// `promoted`, `operator` when it was taken back, `errors` when it failed too often.
    #[schema(value_type = String, example = "errors")]
    pub cause: &'static str,
    /// Why, where there is more to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Unix time of the end, in seconds.
    pub at: u64,
    /// How the candidate's last generations ended.
    pub outcomes: CountView,
}

impl RolloutView {
    /// What `rollout` does beside `stable`.
    pub fn new(rollout: &Rollout, stable: &Pool) -> Self {
        Self {
            stable: stable.revision().to_string(),
            candidate: rollout.running().as_deref().map(CandidateView::from),
            last: rollout.last().map(EndedView::from),
        }
    }
}

impl From<&Running> for CandidateView {
    fn from(running: &Running) -> Self {
        let Plan { share, shadow } = running.plan();
        let (percent, users) = match share {
            Share::Percent(percent) => (Some(*percent), None),
            Share::Users(users) => (None, Some(users.len())),
        };
        let [stable, candidate] = [Arm::Stable, Arm::Candidate].map(|arm| running.outcomes().count(arm).into());
        Self {
            revision: running.pool().revision().to_string(),
            policies: running.pool().policies().len(),
            bytes: running.bytes(),
            percent,
            users,
            shadow: *shadow,
            since: running.since(),
            outcomes: OutcomesView { stable, candidate },
        }
    }
}

impl From<Count> for CountView {
    fn from(count: Count) -> Self {
        Self { requests: count.requests, errors: count.errors, error_rate: count.error_rate() }
    }
}

impl From<Ended> for EndedView {
    fn from(ended: Ended) -> Self {
        let Ended { revision, cause, detail, at, outcomes } = ended;
        Self { revision, cause: cause.name(), detail, at, outcomes: outcomes.into() }
    }
}
