//! What `/policies` answers.

use serde::Serialize;
use tureen_soup::{Policy, PolicyWeights, Pool};
use utoipa::ToSchema;

/// The pool as clients see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoliciesResponse {
    /// Changes with every byte of the pool.
    pub revision: String,
    /// The axes of preference.
    pub dimensions: Vec<DimensionView>,
    /// The policies, in the pool's order.
    pub policies: Vec<PolicyView>,
    /// Cosine between the changes of each two policies, in the same order: below 0 they pull apart.
    pub conflicts: Vec<Vec<f64>>,
}

/// An axis of preference.
#[derive(Debug, Serialize, ToSchema)]
pub struct DimensionView {
    /// Its name.
    pub id: String,
    /// The policies that are its poles.
    pub poles: Vec<String>,
}

/// One policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyView {
    /// The name used in preferences.
    pub id: String,
    /// The preference's code in the paper, such as P2A.
    pub code: String,
    /// Its dimension.
    pub dimension: String,
    /// What the policy was trained to do.
    pub instruction: String,
    /// `lora` or `full`.
    #[schema(value_type = String, example = "lora")]
    pub kind: &'static str,
    /// Frobenius norm of its whole change to the base.
    pub norm: f64,
}

/// One policy with its conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyResponse {
    /// The policy.
    #[serde(flatten)]
    pub policy: PolicyView,
    /// Revision of the pool.
    pub revision: String,
    /// Cosine with each policy of the pool.
    pub conflicts: std::collections::BTreeMap<String, f64>,
}

impl PolicyView {
    /// Shows `policy`, whose change has norm `norm`.
    pub fn new(policy: &Policy, norm: f64) -> Self {
        Self {
            id: policy.id().to_string(),
            code: policy.code().to_owned(),
            dimension: policy.dimension().to_owned(),
            instruction: policy.instruction().to_owned(),
            kind: match policy.weights() {
                PolicyWeights::Lora(_) => "lora",
                PolicyWeights::Full(_) => "full",
            },
            norm,
        }
    }
}

impl PoliciesResponse {
    /// Shows the whole pool.
    pub fn new(pool: &Pool) -> Self {
        let norms = pool.norms();
        Self {
            revision: pool.revision().to_string(),
            dimensions: pool
                .dimensions()
                .iter()
                .map(|d| DimensionView { id: d.id.clone(), poles: d.poles.iter().map(ToString::to_string).collect() })
                .collect(),
            policies: pool.policies().iter().zip(norms).map(|(p, n)| PolicyView::new(p, n)).collect(),
            conflicts: pool.conflicts(),
        }
    }
}
