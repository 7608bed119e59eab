//! Which two answers would teach most.

use tureen_soup::learn::{Belief, Learning};
use tureen_soup::rules::Rules;
use tureen_soup::{MergeOptions, Pool, Preference};

/// How many nats a policy is taken to gain by its own answer instead of another's, for each unit of strength: what
/// `"explain": true` tells of answers of some 80 tokens is of this size.
const GAIN: f64 = 20.0;

/// Strengths at which answers are asked for. A stronger answer says more of its policy, until it says nothing else well.
const STRENGTHS: [f64; 2] = [1.0, 2.0];

/// What to ask for.
#[derive(Debug, PartialEq)]
pub struct Wanted {
    /// One policy, or the base.
    pub preference: Preference,
    /// How strongly.
    pub strength: f64,
}

/// Two soups whose answers to the same prompt are worth comparing.
#[derive(Debug, PartialEq)]
pub struct Question {
    /// One.
    pub first: Wanted,
    /// The other.
    pub second: Wanted,
    /// How much the choice would teach, in nats, by estimate.
    pub teaches: f64,
}

/// Of all [`candidates`], as `rules` let them be served, the two that would teach most about somebody of whose weights over
/// the policies of `pool` `belief` is held. `None` with nothing to compare.
pub fn next_question(pool: &Pool, rules: &Rules, belief: &Belief, learning: &Learning) -> Option<Question> {
    let likeness = pool.conflicts();
    let wanted = candidates(pool.policies().len()).map(|(policy, strength)| Wanted::of(pool, policy, strength));
    let served = wanted.filter_map(|wanted| {
        let gains = gains(&likeness, &wanted.acting(pool, rules)?);
        Some((wanted, gains))
    });
    let (mut wanted, gains): (Vec<Wanted>, Vec<Vec<f64>>) = served.unzip();
    let told = belief.most_telling(&gains, learning)?;
    // The second comes after the first, whose place stays.
    let second = wanted.swap_remove(told.second);
    Some(Question { first: wanted.swap_remove(told.first), second, teaches: told.teaches })
}

/// What answers are asked for: the base, and each of `policies` at each strength, by index.
pub fn candidates(policies: usize) -> impl Iterator<Item = (Option<usize>, f64)> {
    let strong = (0..policies).flat_map(|policy| STRENGTHS.map(|strength| (Some(policy), strength)));
    std::iter::once((None, 1.0)).chain(strong)
}

/// What every policy gains by an answer that is not there yet, of a soup whose weights times its strength are `acting`,
/// instead of the base's. To first order that is its part in each policy's change: `GAIN · Σ_j likeness_kj acting_j`.
pub fn gains(likeness: &[Vec<f64>], acting: &[f64]) -> Vec<f64> {
    // Policies without a gate have no likeness: they are taken to gain nothing.
    let part = |row: &Vec<f64>| row.iter().zip(acting).filter(|(l, _)| !l.is_nan()).map(|(l, a)| l * a).sum::<f64>();
    likeness.iter().map(|row| GAIN * part(row)).collect()
}

impl Wanted {
    fn of(pool: &Pool, policy: Option<usize>, strength: f64) -> Self {
        let named = policy.map(|policy| (pool.policies()[policy].id().to_string(), 1.0));
        Self { preference: Preference::from_pairs(named).expect("a policy has a name, and 1 is a weight"), strength }
    }

    /// The weights of the soup that is served for it, times its strength. `None` when it is refused.
    fn acting(&self, pool: &Pool, rules: &Rules) -> Option<Vec<f64>> {
        let options = MergeOptions { strength: self.strength, ..MergeOptions::default() };
        let soup = rules.apply(pool, pool.soup(&self.preference, &options).ok()?).ok()?.soup;
        Some(soup.weights().iter().map(|weight| weight * soup.strength()).collect())
    }
}
