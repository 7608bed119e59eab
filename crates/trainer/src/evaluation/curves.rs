//! What two policies do when they are mixed in different shares.

use serde::{Deserialize, Serialize};

use super::PolicyScore;
use super::statistics::spearman;

/// Shares of the first policy; the second has the rest.
pub(super) const WEIGHTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Two policies mixed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Curve {
    /// The policies.
    pub policies: [String; 2],
    /// The mixtures, the first policy's share rising.
    pub points: Vec<CurvePoint>,
    /// Spearman's correlation of each policy's share with how much its preference shows: 1 when every share more shows more.
    pub rho: [f64; 2],
}

/// One mixture.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CurvePoint {
    /// The first policy's share.
    pub weight: f64,
    /// Both policies' measures.
    pub scores: [PolicyScore; 2],
    /// Mean content gate.
    pub gate: f64,
}

impl Curve {
    pub(super) fn new(policies: [String; 2], points: Vec<CurvePoint>) -> Self {
        let shares: Vec<f64> = points.iter().map(|point| point.weight).collect();
        let shown = |index: usize, point: &CurvePoint| {
            let PolicyScore { higher, score, .. } = &point.scores[index];
            if *higher { score.mean } else { -score.mean }
        };
        let first: Vec<f64> = points.iter().map(|point| shown(0, point)).collect();
        let second: Vec<f64> = points.iter().map(|point| shown(1, point)).collect();
        // The second policy's share falls as the first one's rises.
        let rho = [spearman(&shares, &first), -spearman(&shares, &second)];
        Self { policies, points, rho }
    }
}
