//! What the next step computes.

use std::sync::Arc;

use super::sequence::{Sequence, Served};
use crate::model::{Group, Row, Weights};
use crate::soups::State;

/// A step: rows of the running sequences, neighbours sharing parameters.
pub(super) struct Plan {
    pub(super) rows: Vec<Row>,
    pub(super) groups: Vec<Group>,
    /// For each row that asks for logits, the running sequence it belongs to.
    pub(super) sampled: Vec<usize>,
    /// For each running sequence, how many of its tokens are computed.
    pub(super) counts: Vec<usize>,
}

/// Plans one token for each decoding sequence and `prefill` prompt tokens, first come first served.
pub(super) fn plan(running: &[Sequence], base: &Arc<Weights>, prefill: usize) -> Plan {
    let counts = counts(running, prefill);
    let mut order: Vec<usize> = (0..running.len()).filter(|i| counts[*i] > 0).collect();
    order.sort_by_key(|i| group_key(&running[*i].served));
    let mut plan = Plan { rows: Vec::new(), groups: Vec::new(), sampled: Vec::new(), counts };
    let mut last_key = None;
    for index in order {
        let sequence = &running[index];
        let key = group_key(&sequence.served);
        if last_key != Some(key) {
            plan.groups.push(group(&sequence.served, base, plan.rows.len()));
            last_key = Some(key);
        }
        let count = plan.counts[index];
        plan.add(index, sequence, count);
    }
    plan
}

fn counts(running: &[Sequence], mut prefill: usize) -> Vec<usize> {
    let count = |sequence: &Sequence| {
        let left = sequence.tokens.len() - sequence.computed;
        if sequence.is_decoding() {
            return left;
        }
        let taken = left.min(prefill);
        prefill -= taken;
        taken
    };
    running.iter().map(count).collect()
}

/// Sequences with equal keys share weights and stacked policies.
fn group_key(served: &Served) -> (usize, usize) {
    match served {
        Served::Gate(None) => (0, 0),
        Served::Gate(Some((gates, _))) => (0, Arc::as_ptr(gates).addr()),
        Served::Materialised(cell) => (Arc::as_ptr(cell).addr(), 0),
    }
}

fn group(served: &Served, base: &Arc<Weights>, start: usize) -> Group {
    let gates = match served {
        Served::Gate(Some((gates, _))) => Some((gates.clone(), Vec::new())),
        _ => None,
    };
    let weights = match served {
        Served::Gate(_) => base.clone(),
        Served::Materialised(cell) => match cell.state() {
            State::Ready(weights) => weights,
            // The scheduler runs a sequence only when its soup is ready, and a soup never goes back.
            State::Pending | State::Failed(_) => unreachable!("the soup was ready when its sequence began to run"),
        },
    };
    Group { rows: start..start, weights, gates }
}

impl Plan {
    fn add(&mut self, index: usize, sequence: &Sequence, count: usize) {
        let group = self.groups.last_mut().expect("a group was opened for this sequence");
        for position in sequence.computed..sequence.computed + count {
            let logits = position + 1 == sequence.tokens.len();
            self.rows.push(Row { token: sequence.tokens[position], position, cache: index, logits });
            if logits {
                self.sampled.push(index);
            }
            if let (Some((_, mixes)), Served::Gate(Some((_, mix)))) = (&mut group.gates, &sequence.served) {
                mixes.push(mix.clone());
            }
        }
        group.rows.end = self.rows.len();
    }
}
