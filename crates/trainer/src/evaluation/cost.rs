//! What personalising for more and more preferences costs.

use serde::{Deserialize, Serialize};

/// Dimensions that the table goes to, two preferences each.
const DIMENSIONS: u32 = 8;

/// CPU-hours of training for a number of preferences.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub struct CostRow {
    /// Preferences, two poles a dimension.
    pub preferences: u32,
    /// Combinations of one pole a dimension.
    pub combinations: u64,
    /// Soups: one policy for each preference.
    pub soups: f64,
    /// One policy for all, trained as long as all of them: Prompted-MORL. It starts anew with each new preference.
    pub one_for_all: f64,
    /// One model for each combination.
    pub one_per_combination: f64,
}

/// The costs when one policy takes `hours`.
pub fn costs(hours: f64) -> Vec<CostRow> {
    let row = |dimensions: u32| {
        let (preferences, combinations) = (2 * dimensions, 1u64 << dimensions);
        CostRow {
            preferences,
            combinations,
            soups: f64::from(preferences) * hours,
            one_for_all: f64::from(preferences) * hours,
            one_per_combination: combinations as f64 * hours,
        }
    };
    (1..=DIMENSIONS).map(row).collect()
}
