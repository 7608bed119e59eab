//! Norms, and the output head for the rows whose logits are wanted.

use std::sync::Arc;

use smallvec::SmallVec;
use tureen_kernels::{Product, Term};

use super::forward::Step;
use super::product::{Run, runs};
use super::scratch::{Scratch, reset};
use super::weights::HostWeights;

impl Step<'_> {
    /// Norms the residual stream into what the next products read.
    pub(super) fn norm(&self, weight: impl Fn(&HostWeights) -> &Arc<Vec<f32>>, s: &mut Scratch) {
        let eps = self.model.config().rms_norm_eps as f32;
        s.normed.resize(self.batch.rows.len());
        for group in self.batch.groups {
            self.compute.rms_norm(&s.hidden, group.rows.clone(), weight(group.weights.host()), eps, &mut s.normed);
        }
    }

    /// Logits of the wanted rows, in their order.
    pub(super) fn logits(&self, s: &mut Scratch) {
        let (width, vocabulary) = (self.model.config().hidden_size, self.model.config().vocab_size);
        let eps = self.model.config().rms_norm_eps as f32;
        // The wanted rows move together, to the front.
        let mut wanted = 0;
        let mut counts: SmallVec<[usize; 4]> = SmallVec::new();
        for group in self.batch.groups {
            let before = wanted;
            for row in group.rows.clone().filter(|row| self.batch.rows[*row].wanted) {
                s.hidden.copy_within(row * width..(row + 1) * width, wanted * width);
                wanted += 1;
            }
            counts.push(wanted - before);
        }
        s.normed.resize(wanted);
        reset(&mut s.logits, wanted * vocabulary);
        let mut start = 0;
        for (group, count) in self.batch.groups.iter().zip(&counts) {
            self.compute.rms_norm(&s.hidden, start..start + count, &group.weights.host().norm, eps, &mut s.normed);
            start += count;
        }
        let (mut start, mut left) = (0, &mut s.logits[..]);
        for Run { rows, matrices: [head], .. } in runs(self.batch.groups, |w| [&w.head]) {
            let count = rows.filter(|row| self.batch.rows[*row].wanted).count();
            let own;
            (own, left) = left.split_at_mut(count * vocabulary);
            let term = Term { x: s.normed.range(start..start + count), w: head.panels(), first: 0 };
            self.compute.multiply(&mut [Product { terms: &[term], y: own, add: false }]);
            start += count;
        }
    }
}
