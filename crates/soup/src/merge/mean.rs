//! Weighted means that are exact where they can be.

/// `Σ w_i x_i`, computed as `(Σ w_i) x_a + Σ w_i (x_i - x_a)` around the policy a with the largest weight (the first of
/// those, if there are several).
///
/// Equal x give exactly x when the weights sum to one, which a plain sum would miss by a rounding. Around the largest
/// weight, as around a small one the differences would cancel what they are to keep.
#[derive(Debug)]
pub(super) struct Mean {
    weights: Vec<f64>,
    total: f64,
    anchor: usize,
}

impl Mean {
    /// `weights` are above 0, at least one. `sums_to_one`: take their sum as exactly 1, whatever it rounds to.
    pub(super) fn new(weights: Vec<f64>, sums_to_one: bool) -> Self {
        let total = if sums_to_one { 1.0 } else { weights.iter().sum() };
        let mut anchor = 0;
        for (i, weight) in weights.iter().enumerate() {
            if *weight > weights[anchor] {
                anchor = i;
            }
        }
        Self { weights, total, anchor }
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Place of the largest weight.
    pub(super) fn anchor(&self) -> usize {
        self.anchor
    }

    pub(super) fn sums_to_one(&self) -> bool {
        self.total == 1.0
    }

    /// The mean of `rows` (as many as weights, of equal length), into `out`.
    pub(super) fn of(&self, rows: &[Vec<f64>], out: &mut [f64]) {
        let anchor = &rows[self.anchor];
        out.iter_mut().zip(anchor).for_each(|(out, x)| *out = self.total * x);
        for (i, (weight, row)) in self.weights.iter().zip(rows).enumerate() {
            if i == self.anchor {
                continue;
            }
            for ((out, x), anchor) in out.iter_mut().zip(row).zip(anchor) {
                let difference = x - anchor;
                // Adding a product with 0 could still turn -0 into 0.
                *out = if difference == 0.0 { *out } else { *out + weight * difference };
            }
        }
    }
}
