//! From the soup that was asked for to the one that is served.

use super::project::project;
use super::{Breach, Outside, Rules, RulesError};
use crate::{Pool, Soup};

/// A soup that keeps the rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruled {
    /// What is served.
    pub soup: Soup,
    /// What was asked for and is not served: the rules it broke. Empty when it is served as it was asked for.
    pub breaches: Vec<Breach>,
}

/// The allowed weights that act, around those that were asked for.
struct Region<'a> {
    asked: &'a [f64],
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// Forbidden pairs, by index.
    pairs: Vec<(usize, usize)>,
    max_strength: f64,
}

/// Shrunk soups may be this much over the bound, relatively: one rounding of the strength.
const ROUNDING: f64 = 1e-12;

impl Rules {
    /// The soup that is served for `asked`, a soup of `pool`.
    ///
    /// With [`Outside::Project`], its weights are the Euclidean projection of the asked ones, `v = strength · w`, on
    /// `{x : Σ x = s, lower ≤ x ≤ upper}`. There `s` is the asked strength, or the nearest that the rules leave
    /// possible, and a policy that neither the preference nor a rule asks for stays at 0. Of forbidden pairs, all ways
    /// to set one of the two to 0 are tried, and the nearest point of them all is served. A method is never replaced: it is refused.
    /// A soup over the drift bound is refused, or its strength lowered to it.
    ///
    /// # Errors
    /// Every rule that is broken and cannot be kept instead.
    pub fn apply(&self, pool: &Pool, asked: Soup) -> Result<Ruled, RulesError> {
        let method = asked.method();
        if self.methods.as_ref().is_some_and(|allowed| !allowed.contains(&method)) && !asked.is_base() {
            return Err(RulesError::Broken(vec![Breach::Method(method)]));
        }
        let acting: Vec<f64> = asked.weights().iter().map(|w| w * asked.strength()).collect();
        let region = self.region(pool, &acting)?;
        let mut breaches = region.breaches(pool, asked.strength());
        if self.outside == Outside::Refuse && !breaches.is_empty() {
            return Err(RulesError::Broken(breaches));
        }
        let mut soup = asked;
        if !breaches.is_empty() {
            soup = self.inside(pool, &soup, &region)?;
        }
        if let Some(breach) = self.over_drift(pool, &soup) {
            soup = self.shrunk(pool, &soup, &breach, &region).ok_or_else(|| {
                let all = breaches.iter().cloned().chain([breach.clone()]);
                RulesError::Broken(all.collect())
            })?;
            breaches.push(breach);
        }
        Ok(Ruled { soup, breaches })
    }

    fn region<'a>(&self, pool: &Pool, asked: &'a [f64]) -> Result<Region<'a>, RulesError> {
        let unsatisfiable = |why: String| RulesError::Broken(vec![Breach::Unsatisfiable(why)]);
        let (mut lower, mut upper) = (vec![0.0; asked.len()], vec![f64::INFINITY; asked.len()]);
        for (policy, (least, most)) in &self.bounds {
            if least > most {
                return Err(unsatisfiable(format!("{policy} must be at least {least} and at most {most}")));
            }
            match pool.index_of(policy) {
                Some(index) => (lower[index], upper[index]) = (*least, *most),
                None if *least > 0.0 => return Err(unsatisfiable(format!("the pool has no {policy}"))),
                None => {}
            }
        }
        if lower.iter().sum::<f64>() > self.max_strength {
            let most = self.max_strength;
            return Err(unsatisfiable(format!("the weights that are required are over the strength {most}")));
        }
        // What the pool does not have cannot meet.
        let both = |(first, second): &(String, String)| Some((pool.index_of(first)?, pool.index_of(second)?));
        let pairs = self.forbidden.iter().filter_map(both).collect();
        Ok(Region { asked, lower, upper, pairs, max_strength: self.max_strength })
    }

    /// The nearest soup that keeps bounds and pairs.
    fn inside(&self, pool: &Pool, asked: &Soup, region: &Region<'_>) -> Result<Soup, RulesError> {
        let capped = asked.strength().min(self.max_strength);
        let scaled: Vec<f64> = asked.weights().iter().map(|w| w * capped).collect();
        if !region.holds(&scaled) {
            let nearest = region.nearest(&scaled).ok_or_else(|| {
                RulesError::Broken(vec![Breach::Unsatisfiable("forbidden pairs are required together".into())])
            })?;
            // The sum may be a rounding above.
            let strength = nearest.iter().sum::<f64>().min(self.max_strength);
            let weights = nearest.iter().map(|v| if strength > 0.0 { v / strength } else { 0.0 }).collect();
            return Ok(pool.soup_of(asked, weights, strength)?);
        }
        // Only the strength is over: the weights keep their bits.
        Ok(pool.soup_of(asked, asked.weights().to_vec(), capped)?)
    }

    fn over_drift(&self, pool: &Pool, soup: &Soup) -> Option<Breach> {
        let most = self.max_drift?;
        let drift = pool.drift(soup);
        // A drift that is not known is over every bound.
        let within = drift <= most * (1.0 + ROUNDING);
        (!within).then_some(Breach::Drift { drift, most })
    }

    fn shrunk(&self, pool: &Pool, soup: &Soup, breach: &Breach, region: &Region<'_>) -> Option<Soup> {
        let Breach::Drift { drift, most } = breach else { return None };
        if self.over_drift == Outside::Refuse || drift.is_nan() {
            return None;
        }
        let strength = soup.strength() * (most / drift);
        let acting: Vec<f64> = soup.weights().iter().map(|w| w * strength).collect();
        let keeps = acting.iter().zip(&region.lower).all(|(v, lower)| *v >= lower * (1.0 - ROUNDING));
        if !keeps {
            return None;
        }
        pool.soup_of(soup, soup.weights().to_vec(), strength).ok()
    }
}

impl Region<'_> {
    fn breaches(&self, pool: &Pool, strength: f64) -> Vec<Breach> {
        let name = |index: usize| pool.policies()[index].id().to_string();
        let mut breaches = Vec::new();
        if strength > self.max_strength && self.asked.iter().any(|v| *v > 0.0) {
            breaches.push(Breach::Strength { asked: strength, most: self.max_strength });
        }
        for (index, asked) in self.asked.iter().copied().enumerate() {
            let (least, most) = (self.lower[index], self.upper[index]);
            if asked < least * (1.0 - ROUNDING) {
                breaches.push(Breach::Below { policy: name(index), asked, least });
            }
            if asked > most * (1.0 + ROUNDING) {
                breaches.push(Breach::Above { policy: name(index), asked, most });
            }
        }
        for (first, second) in self.pairs.iter().filter(|pair| meet(self.asked, **pair)) {
            breaches.push(Breach::Pair { first: name(*first), second: name(*second) });
        }
        breaches
    }

    fn holds(&self, v: &[f64]) -> bool {
        let bounds = self.lower.iter().zip(&self.upper);
        let inside = |(v, (lower, upper)): (&f64, (&f64, &f64))| lower <= v && v <= upper;
        v.iter().zip(bounds).all(inside) && !self.pairs.iter().any(|pair| meet(v, *pair))
    }

    /// The nearest point to `v`; `None` when required policies must not meet.
    fn nearest(&self, v: &[f64]) -> Option<Vec<f64>> {
        let mut upper = self.upper.clone();
        for (index, asked) in v.iter().enumerate() {
            if *asked <= 0.0 {
                upper[index] = self.lower[index];
            }
        }
        let mut best = None;
        self.seek(v, &upper, &mut best);
        best.map(|best| best.point)
    }

    /// Branches over who leaves the first pair that meets, the lighter one first. The bounds only get narrower further
    /// down, so a branch is not followed whose bounds alone put it no nearer than the best point.
    fn seek(&self, v: &[f64], upper: &[f64], best: &mut Option<Nearest>) {
        let bounds = || v.iter().zip(self.lower.iter().zip(upper));
        if bounds().any(|(_, (lower, upper))| lower > upper) {
            return;
        }
        let asked: f64 = v.iter().sum();
        let sum = asked.clamp(self.lower.iter().sum(), upper.iter().sum());
        let gap = (asked - sum).abs();
        let at_least: f64 = bounds().map(|(v, (lower, upper))| (v - v.clamp(*lower, *upper)).powi(2)).sum();
        if best.as_ref().is_some_and(|best| (gap, at_least) >= (best.gap, best.distance)) {
            return;
        }
        let point = project(v, &self.lower, upper, sum);
        let Some((first, second)) = self.pairs.iter().copied().find(|pair| meet(&point, *pair)) else {
            let distance: f64 = point.iter().zip(v).map(|(x, v)| (x - v).powi(2)).sum();
            if best.as_ref().is_none_or(|best| (gap, distance) < (best.gap, best.distance)) {
                *best = Some(Nearest { gap, distance, point });
            }
            return;
        };
        let lighter_first = if v[first] <= v[second] { [first, second] } else { [second, first] };
        for leaving in lighter_first {
            let mut upper = upper.to_vec();
            upper[leaving] = 0.0;
            self.seek(v, &upper, best);
        }
    }
}

/// The best point found so far.
struct Nearest {
    /// Between the asked strength and the one of this point: it counts first.
    gap: f64,
    /// Square of the distance to the asked point.
    distance: f64,
    point: Vec<f64>,
}

fn meet(v: &[f64], (first, second): (usize, usize)) -> bool {
    v[first] > 0.0 && v[second] > 0.0
}
