//! Linear layers for all rows of a batch: one product for all rows that share a matrix, the gates of each group added.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;
use tureen_kernels::{Converted, Product, Rows, Term};

use super::forward::{Group, Step};
use super::gate::Stack;
use super::matrix::Matrix;
use super::scratch::{Gated, reset};
use super::weights::{HostWeights, Linear, Slot};

/// Layers of groups that are listed without allocating: three layers that read the same, for four groups.
const INLINE: usize = 12;

/// A linear layer to compute for all rows.
pub(super) struct Wanted<'a> {
    pub(super) slot: Slot,
    /// (rows, out)
    pub(super) y: &'a mut [f32],
    /// Whether the result is added to `y`.
    pub(super) add: bool,
}

/// `y = x Wᵀ + bias` and each row's soup, for several layers that read the same `x` (rows, in).
pub(super) fn project<const N: usize>(
    step: &Step<'_>,
    layer: usize,
    x: &Rows,
    wanted: [Wanted<'_>; N],
    gated: &mut Vec<Gated>,
) {
    let slots = wanted.each_ref().map(|w| w.slot);
    let opened = Opened::open(step, layer, slots, x, gated);
    let mut parts: SmallVec<[Part<'_>; INLINE]> = SmallVec::new();
    for (column, Wanted { slot, mut y, add }) in wanted.into_iter().enumerate() {
        for Run { rows, groups, matrices: [matrix] } in runs(step.batch.groups, |w| [w.layers[layer].linear(slot)]) {
            let own;
            (own, y) = y.split_at_mut(rows.len() * matrix.panels().out());
            let terms = opened.terms(x, &rows, groups, column, matrix);
            let add = with_bias(matrix, own, add);
            parts.push(Part { terms, y: own, add });
        }
    }
    let products = parts.iter_mut().map(|part| Product { terms: &part.terms, y: part.y, add: part.add });
    step.compute.multiply(&mut products.collect::<SmallVec<[Product<'_>; INLINE]>>());
}

/// `inner = silu(x Wgᵀ) ∘ (x Wuᵀ)`, each row's soup in both.
pub(super) fn feed(step: &Step<'_>, layer: usize, x: &Rows, inner: &mut Rows, gated: &mut Vec<Gated>) {
    let slots = [Slot::Gate, Slot::Up];
    let opened = Opened::open(step, layer, slots, x, gated);
    for Run { rows, groups, matrices: [gate, up] } in
        runs(step.batch.groups, |w| slots.map(|slot| w.layers[layer].linear(slot)))
    {
        let gate = opened.terms(x, &rows, groups.clone(), 0, gate);
        let up = opened.terms(x, &rows, groups, 1, up);
        step.compute.gated_feed(&gate, &up, rows.start, inner);
    }
}

/// Summands of one product: the base and a few groups with gates.
type Terms<'a> = SmallVec<[Term<'a>; 4]>;

struct Part<'a> {
    terms: Terms<'a>,
    y: &'a mut [f32],
    add: bool,
}

/// Neighbouring groups that share matrices: a soup leaves most of them to the base.
pub(super) struct Run<'a, const N: usize> {
    pub(super) rows: Range<usize>,
    groups: Range<usize>,
    pub(super) matrices: [&'a Matrix; N],
}

pub(super) fn runs<'a, const N: usize>(
    groups: &'a [Group],
    matrices: impl Fn(&'a HostWeights) -> [&'a Arc<Matrix>; N],
) -> SmallVec<[Run<'a, N>; 4]> {
    let mut runs: SmallVec<[Run<'a, N>; 4]> = SmallVec::new();
    for (index, group) in groups.iter().enumerate() {
        let own = matrices(group.weights.host()).map(|m| &**m);
        match runs.last_mut() {
            Some(run) if std::iter::zip(run.matrices, own).all(|(a, b)| std::ptr::eq(a, b)) => {
                run.rows.end = group.rows.end;
                run.groups.end = index + 1;
            }
            _ => runs.push(Run { rows: group.rows.clone(), groups: index..index + 1, matrices: own }),
        }
    }
    runs
}

/// The gates of all groups, opened for some layers that read the same input.
struct Opened<'a, const N: usize> {
    groups: &'a [Group],
    stacks: SmallVec<[[Option<&'a Stack>; N]; 4]>,
    /// Group by group, layer by layer.
    gated: &'a [Gated],
}

impl<'a, const N: usize> Opened<'a, N> {
    /// Computes `z = x A*ᵀ`, and multiplies each row with its mix.
    fn open(step: &Step<'a>, layer: usize, slots: [Slot; N], x: &Rows, gated: &'a mut Vec<Gated>) -> Self {
        let groups = step.batch.groups;
        let stack = |group: &'a Group, slot| group.gates.as_ref()?.stack(Linear { layer, slot });
        let stacks: SmallVec<[_; 4]> = groups.iter().map(|group| slots.map(|slot| stack(group, slot))).collect();
        while gated.len() < groups.len() * N {
            gated.push(Gated { z: Vec::new(), rows: Rows::new(x.isa(), x.precision(), 0) });
        }
        let places = || groups.iter().zip(&stacks).flat_map(|(group, stacks)| stacks.map(|stack| (group, stack)));
        let mut terms: SmallVec<[Term<'_>; INLINE]> = SmallVec::new();
        for ((group, stack), gated) in places().zip(gated.iter_mut()) {
            let Some(stack) = stack else { continue };
            reset(&mut gated.z, group.rows.len() * stack.a.out());
            gated.rows.reshape(stack.a.out(), group.rows.len());
            terms.push(Term { x: x.range(group.rows.clone()), w: &stack.a, first: 0 });
        }
        let mixed = places().filter_map(|(group, stack)| Some((stack?, &step.batch.mixes[group.rows.clone()])));
        let changes = mixed.map(|(stack, mixes)| {
            move |row: usize, z: &mut [f32]| {
                let mix = mixes[row].as_ref().expect("each row of a group with gates has a mix");
                mix.apply(stack, z);
            }
        });
        let changes: SmallVec<[_; INLINE]> = changes.collect();
        let open = places().zip(gated.iter_mut()).filter(|((_, stack), _)| stack.is_some());
        let converted = open.zip(&terms).zip(&changes).map(|(((_, gated), term), change)| Converted {
            product: Product { terms: std::slice::from_ref(term), y: &mut gated.z, add: false },
            to: &mut gated.rows,
            change,
        });
        step.compute.multiply_converted(&mut converted.collect::<SmallVec<[Converted<'_>; INLINE]>>());
        Self { groups, stacks, gated }
    }

    /// The summands of one product over `rows`, those of `groups`.
    fn terms<'b>(
        &'b self,
        x: &'b Rows,
        rows: &Range<usize>,
        groups: Range<usize>,
        column: usize,
        matrix: &'b Matrix,
    ) -> Terms<'b> {
        let mut terms = Terms::new();
        terms.push(Term { x: x.range(rows.clone()), w: matrix.panels(), first: 0 });
        for index in groups {
            if let Some(stack) = self.stacks[index][column] {
                let first = self.groups[index].rows.start - rows.start;
                terms.push(Term { x: self.gated[index * N + column].rows.view(), w: &stack.b, first });
            }
        }
        terms
    }
}

/// Adds the bias, or writes it where nothing is to be added to; tells whether there is something to be added to now.
fn with_bias(matrix: &Matrix, y: &mut [f32], add: bool) -> bool {
    let Some(bias) = matrix.bias() else { return add };
    for row in y.chunks_exact_mut(bias.len()) {
        if add {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        } else {
            row.copy_from_slice(bias);
        }
    }
    true
}
