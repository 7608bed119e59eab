//! How the prompt tokens of a step are shared.
//!
//! Half goes to the prompt that came first, the rest to the one with the fewest tokens left, then to the next. A short
//! prompt is done in a step or two whatever long ones are being read; a long one gets on by half a chunk in every step
//! that it is the oldest in, whatever short ones come, and each prompt is the oldest one day. Prompts of shadows get what
//! is left by all others.

/// Tokens that a sequence could compute now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Index of the sequence.
    pub(super) index: usize,
    /// Tokens of its prompt that are not computed.
    pub(super) left: usize,
    /// Nobody waits for it.
    pub(super) shadow: bool,
}

/// Adds each prompt's share of `budget` tokens to `counts`. `demands` are ordered by arrival, shadows last.
pub(super) fn share(demands: &mut [Demand], mut budget: usize, counts: &mut [usize]) {
    let half = budget.div_ceil(2);
    let mut take = |demand: &mut Demand, most: usize| {
        let taken = demand.left.min(most).min(budget);
        demand.left -= taken;
        budget -= taken;
        counts[demand.index] += taken;
    };
    if let Some(oldest) = demands.first_mut() {
        take(oldest, half);
    }
    demands.sort_unstable_by_key(|demand| (demand.shadow, demand.left, demand.index));
    demands.iter_mut().for_each(|demand| take(demand, usize::MAX));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Demand, share};

    fn shared(lefts: &[usize], budget: usize) -> Vec<usize> {
        beside_shadows(lefts, &[], budget)
    }

    /// Shares of requests, then of shadows.
    fn beside_shadows(lefts: &[usize], shadows: &[usize], budget: usize) -> Vec<usize> {
        let all = lefts.iter().map(|left| (*left, false)).chain(shadows.iter().map(|left| (*left, true)));
        let demand = |(index, (left, shadow))| Demand { index, left, shadow };
        let mut demands: Vec<_> = all.enumerate().map(demand).collect();
        let mut counts = vec![0; demands.len()];
        share(&mut demands, budget, &mut counts);
        counts
    }

    #[test]
    fn half_for_the_oldest_the_rest_for_the_shortest() {
        assert_eq!(shared(&[1000, 40, 10, 300], 64), [32, 22, 10, 0]);
        assert_eq!(shared(&[1000], 64), [64]);
        assert_eq!(shared(&[5, 1000, 7], 64), [5, 52, 7]);
        assert_eq!(shared(&[100, 100], 1), [1, 0]);
        assert_eq!(shared(&[], 64), [0; 0]);
    }

    #[test]
    fn shadows_get_what_is_left() {
        assert_eq!(beside_shadows(&[1000, 40], &[1, 2], 64), [32, 32, 0, 0]);
        assert_eq!(beside_shadows(&[30, 20], &[100, 3], 64), [30, 20, 11, 3]);
        assert_eq!(beside_shadows(&[], &[100], 64), [64]);
    }

    proptest! {
        #[test]
        fn nothing_is_wasted_and_the_oldest_gets_on(lefts in prop::collection::vec(1_usize..300, 1..20), budget in 1_usize..300) {
            let counts = shared(&lefts, budget);
            prop_assert_eq!(counts.iter().sum::<usize>(), lefts.iter().sum::<usize>().min(budget));
            prop_assert!(counts.iter().zip(&lefts).all(|(count, left)| count <= left));
            prop_assert!(counts[0] >= lefts[0].min(budget.div_ceil(2)));
        }
    }
}
