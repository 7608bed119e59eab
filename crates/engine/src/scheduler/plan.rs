//! What the next step computes.

use std::sync::Arc;

use tureen_cuda::Choices;

use super::sequence::Sequence;
use super::served::Served;
use super::share::{Demand, share};
use crate::model::{Group, Mix, Row, Weights};

/// Chunks of prompts in a step that no running stream waits for: larger products, fewer steps.
const UNHURRIED: usize = 4;

/// A step: rows of the running sequences, neighbours sharing parameters. Kept from step to step for its buffers.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) rows: Vec<Row>,
    /// The mix of each row that has one.
    pub(super) mixes: Vec<Option<Arc<Mix>>>,
    pub(super) groups: Vec<Group>,
    /// For each row that asks for logits, the running sequence it belongs to. Rows of one sequence are neighbours.
    pub(super) sampled: Vec<usize>,
    /// For each running sequence, how many of its tokens are computed, drafted ones among them.
    pub(super) counts: Vec<usize>,
    /// How tokens are chosen after the rows that ask for logits, where a device does that.
    pub(super) choices: Choices,
    order: Vec<usize>,
    demands: Vec<Demand>,
}

impl Plan {
    /// Plans one token for each decoding sequence, its draft, and a chunk of the prompts. `running` is ordered by arrival.
    pub(super) fn make(&mut self, running: &[Sequence], base: &Arc<Weights>, chunk: usize) {
        self.clear();
        self.count(running, chunk);
        self.order.clear();
        self.order.extend((0..running.len()).filter(|index| self.counts[*index] > 0));
        self.order.sort_unstable_by_key(|index| (running[*index].served.group_key(), *index));
        let mut last_key = None;
        for at in 0..self.order.len() {
            let index = self.order[at];
            let sequence = &running[index];
            let key = sequence.served.group_key();
            if last_key != Some(key) {
                self.groups.push(group(&sequence.served, base, self.rows.len()));
                last_key = Some(key);
            }
            self.add(index, sequence);
        }
    }

    /// Says how a device chooses after each row that asks for logits.
    pub(super) fn describe(&mut self, running: &[Sequence], vocabulary: usize) {
        for own in self.sampled.chunk_by(|a, b| a == b) {
            running[own[0]].describe(vocabulary, &mut self.choices);
        }
    }

    /// Lets go of the parameters: they live as long as their leases say, not as long as this.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.mixes.clear();
        self.groups.clear();
        self.sampled.clear();
        self.counts.clear();
        self.choices.clear();
    }

    fn count(&mut self, running: &[Sequence], chunk: usize) {
        let rows = |sequence: &Sequence| if sequence.is_decoding() { 1 + sequence.drafted() } else { 0 };
        self.counts.extend(running.iter().map(rows));
        let hurried = self.counts.iter().any(|count| *count > 0);
        self.demands.clear();
        let prompts = running.iter().enumerate().filter(|(_, sequence)| !sequence.is_decoding());
        self.demands.extend(prompts.map(|(index, sequence)| Demand {
            index,
            left: sequence.left(),
            shadow: sequence.is_shadow(),
        }));
        share(&mut self.demands, if hurried { chunk } else { chunk * UNHURRIED }, &mut self.counts);
    }

    fn add(&mut self, index: usize, sequence: &Sequence) {
        let computed = sequence.cache.computed();
        for position in computed..computed + self.counts[index] {
            // After the last token, and after each of its draft.
            let wanted = position + 1 >= sequence.tokens.len();
            self.rows.push(Row { token: sequence.token(position), position, cache: index, wanted });
            if wanted {
                self.sampled.push(index);
            }
            self.mixes.push(sequence.served.mix().cloned());
        }
        let group = self.groups.last_mut().expect("a group was opened for this sequence");
        group.rows.end = self.rows.len();
    }
}

fn group(served: &Served, base: &Arc<Weights>, start: usize) -> Group {
    let gates = match served {
        Served::Gate(Some((gates, _))) => Some(gates.clone()),
        _ => None,
    };
    // A sequence runs only when its soup is ready, and a soup never goes back.
    let weights = served.weights(base).expect("the soup was ready when its sequence began to run");
    Group { rows: start..start, weights, gates }
}
