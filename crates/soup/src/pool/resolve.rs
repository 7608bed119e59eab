//! From a preference to a soup.

use super::Pool;
use crate::preference::shown;
use crate::{MergeOptions, Method, Preference, PreferenceError, Renormalize, Soup};

const STRENGTH: std::ops::RangeInclusive<f64> = 0.0..=4.0;

/// How far from 1 the weights may sum with `normalize` off.
const SUM_TOLERANCE: f64 = 1e-3;

impl Pool {
    /// The soup that `preference` gets under `options`. The order in which the preference names its policies has no
    /// influence on any bit of it.
    ///
    /// # Errors
    /// See [`PreferenceError`]; nothing is guessed or clamped.
    pub fn soup(&self, preference: &Preference, options: &MergeOptions) -> Result<Soup, PreferenceError> {
        let options = checked(options)?;
        let mut weights = self.in_order(preference)?;
        if !preference.is_empty() {
            weights = summing_to_one(weights, options.normalize)?;
            self.check_method(options.method, &weights)?;
        }
        let renormalize = options.renormalize;
        let soup = Soup::new(self.revision, &self.policies, weights, options);
        match renormalize {
            Renormalize::None => Ok(soup),
            Renormalize::Drift => self.renormalized(&soup),
        }
    }

    /// The soup with exactly these weights and options, as [`Soup::weights`] and [`Soup::options`] told them: nothing is
    /// scaled, so every bit is kept.
    ///
    /// # Errors
    /// For policies that the pool does not have, and options that cannot be served.
    pub fn restore(&self, weights: &Preference, options: &MergeOptions) -> Result<Soup, PreferenceError> {
        let options = checked(options)?;
        let weights = self.in_order(weights)?;
        self.check_method(options.method, &weights)?;
        Ok(Soup::new(self.revision, &self.policies, weights, options))
    }

    fn in_order(&self, preference: &Preference) -> Result<Vec<f64>, PreferenceError> {
        let mut weights = vec![0.0; self.policies.len()];
        for (name, weight) in preference.iter() {
            let index = self.index_of(name).ok_or_else(|| PreferenceError::UnknownPolicy {
                name: shown(name),
                known: self.policies.iter().map(|p| p.id().clone()).collect(),
            })?;
            weights[index] = weight;
        }
        Ok(weights)
    }

    /// `soup` with other weights and another strength. The weights sum to 1, or are all 0.
    pub(crate) fn soup_of(&self, soup: &Soup, weights: Vec<f64>, strength: f64) -> Result<Soup, PreferenceError> {
        self.check_method(soup.method(), &weights)?;
        let options = MergeOptions { strength, renormalize: Renormalize::None, ..soup.options().clone() };
        let options = checked(&options)?;
        Ok(Soup::new(self.revision, &self.policies, weights, options))
    }

    /// `soup` with the strength at which its change is as large as its policies' on the weighted mean:
    /// `strength · Σ w_i ‖D_i‖ / sqrt(wᵀ G w)`. Policies that pull apart cancel each other, and their plain average is
    /// weaker than any of them; this takes the average of their directions and of their sizes apart.
    fn renormalized(&self, soup: &Soup) -> Result<Soup, PreferenceError> {
        if !matches!(soup.method(), Method::Exact | Method::Linear) {
            return Err(PreferenceError::RenormalizeMethod(soup.method()));
        }
        let norms = self.norms();
        let mean: f64 = soup.active().map(|(index, weight)| weight * norms[index]).sum();
        let drift = self.drift(soup);
        if soup.is_base() || mean == 0.0 {
            return self.soup_of(soup, soup.weights().to_vec(), soup.strength());
        }
        let strength = soup.strength() * (soup.strength() * mean / drift);
        if !STRENGTH.contains(&strength) {
            return Err(PreferenceError::RenormalizeStrength(strength));
        }
        self.soup_of(soup, soup.weights().to_vec(), strength)
    }

    fn check_method(&self, method: Method, weights: &[f64]) -> Result<(), PreferenceError> {
        let active = || self.policies.iter().zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(p, _)| p);
        let count = active().count();
        if method == Method::Slerp && count != 2 && count > 0 {
            return Err(PreferenceError::NeedsTwoPolicies { method, given: count });
        }
        match active().find(|policy| method.works_on_factors() && policy.lora().is_none()) {
            Some(policy) => Err(PreferenceError::MethodNotForKind { method, policy: policy.id().clone() }),
            None => Ok(()),
        }
    }
}

fn checked(options: &MergeOptions) -> Result<MergeOptions, PreferenceError> {
    if options.method == Method::Logits {
        return Err(PreferenceError::MethodNotSupported(Method::Logits));
    }
    if !STRENGTH.contains(&options.strength) {
        return Err(PreferenceError::InvalidStrength(options.strength));
    }
    if !(options.density > 0.0 && options.density <= 1.0) {
        return Err(PreferenceError::InvalidDensity(options.density));
    }
    // Adding 0 turns -0 into 0: equal soups must have equal bits.
    Ok(MergeOptions { strength: options.strength + 0.0, ..options.clone() })
}

fn summing_to_one(mut weights: Vec<f64>, normalize: bool) -> Result<Vec<f64>, PreferenceError> {
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(PreferenceError::ZeroWeights);
    }
    let sum: f64 = weights.iter().sum();
    if !normalize {
        return if (sum - 1.0).abs() <= SUM_TOLERANCE {
            Ok(weights)
        } else {
            Err(PreferenceError::NotNormalised { sum })
        };
    }
    // Finite weights may have an infinite sum; their ratios are fine all the same.
    let sum = if sum.is_finite() {
        sum
    } else {
        weights.iter_mut().for_each(|weight| *weight /= largest);
        weights.iter().sum()
    };
    weights.iter_mut().for_each(|weight| *weight /= sum);
    Ok(weights)
}
