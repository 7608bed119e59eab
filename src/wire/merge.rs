//! The document's picture of merge options and preferences, which are read by the types of `tureen-soup`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// How policies are mixed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MergeOptions)]
pub struct MergeOptionsSchema {
    /// `exact`, `factor`, `linear`, `ties`, `dare_linear`, `dare_ties`, `slerp` or `logits`.
    #[schema(default = "exact", required = false)]
    pub method: String,
    /// Scale the weights to sum to 1. With `false` another sum is refused.
    #[schema(default = true, required = false)]
    pub normalize: bool,
    /// Scales the whole change, 0 to 4.
    #[schema(default = 1.0, minimum = 0.0, maximum = 4.0, required = false)]
    pub strength: f64,
    /// `none`, or `drift`: scale the strength so that the soup moves as far from the base as its policies do on the
    /// weighted mean (`exact` and `linear`).
    #[schema(default = "none", required = false)]
    pub renormalize: String,
    /// Share of the change that is kept (`ties`, `dare_*`).
    #[schema(default = 0.5, minimum = 0.0, maximum = 1.0, required = false)]
    pub density: f64,
    /// Seed of the random choice (`dare_*`).
    #[schema(default = 0, required = false)]
    pub seed: u64,
}

/// Policy names with weights: finite, at least 0, none twice. `{}` is the base.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preference, example = json!({"concise": 0.6, "friendly": 0.4}))]
pub struct PreferenceSchema(pub BTreeMap<String, f64>);
