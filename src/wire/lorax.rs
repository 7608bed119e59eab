//! `parameters.merged_adapters`, for clients that come from LoRAX.

use serde::Deserialize;
use serde::de::value::{Error as ValueError, MapDeserializer};
use tureen_soup::{MergeOptions, Method, Preference};
use utoipa::ToSchema;

use crate::problem::ApiError;

const FIELD: &str = "parameters.merged_adapters";

/// Names a preference and a method in LoRAX's words. Weights are normalised, as everywhere here.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergedAdapters {
    /// Ids of policies.
    pub ids: Vec<String>,
    /// One weight for each id; equal weights when left out.
    #[serde(default)]
    pub weights: Vec<f64>,
    /// `linear` (the default; served as `exact`), `ties`, `dare_linear` or `dare_ties`.
    pub merge_strategy: Option<String>,
    /// Share of the change that is kept (all but `linear`).
    pub density: Option<f64>,
    /// Only `total` is supported.
    pub majority_sign_method: Option<String>,
}

impl MergedAdapters {
    /// The same wish in our own words.
    pub(super) fn translate(self) -> Result<(Preference, MergeOptions), ApiError> {
        let weights = if self.weights.is_empty() { vec![1.0; self.ids.len()] } else { self.weights };
        if weights.len() != self.ids.len() {
            let detail = format!("{} ids but {} weights", self.ids.len(), weights.len());
            return Err(ApiError::invalid("invalid_field", FIELD, detail));
        }
        let method = match self.merge_strategy.as_deref() {
            None | Some("linear") => Method::Exact,
            Some("ties") => Method::Ties,
            Some("dare_linear") => Method::DareLinear,
            Some("dare_ties") => Method::DareTies,
            Some(other) => {
                let detail = format!("merge_strategy {other:?} is none of linear, ties, dare_linear, dare_ties");
                return Err(ApiError::invalid("invalid_field", FIELD, detail));
            }
        };
        if self.majority_sign_method.is_some_and(|m| m != "total") {
            return Err(ApiError::not_supported(FIELD, "majority_sign_method: only \"total\" is supported"));
        }
        let mut options = MergeOptions { method, ..MergeOptions::default() };
        if let Some(density) = self.density {
            options.density = density;
        }
        Ok((preference_of(self.ids.into_iter().zip(weights), FIELD)?, options))
    }
}

/// A preference from pairs, under the rules that JSON is read by: finite, at least 0, none twice.
pub(super) fn preference_of(pairs: impl Iterator<Item = (String, f64)>, field: &str) -> Result<Preference, ApiError> {
    let pairs = MapDeserializer::<_, ValueError>::new(pairs);
    Preference::deserialize(pairs).map_err(|e| ApiError::invalid("invalid_preference", field, e.to_string()))
}
