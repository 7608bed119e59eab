//! The gate path: every preference in one batch, without merging anything.
//!
//! For a linear layer that policies 1..N change, `A* = [A_1; ...; A_N]` and `B* = [s_1 B_1, ..., s_N B_N]` are stacked
//! once. With g(row) = the row's weights spread over the ranks, times strength (design, section 3):
//!
//! ```text
//! exact:   y += ((x A*ᵀ) ∘ g) B*ᵀ
//! factor:  z = Σ_j w_j x A_jᵀ;   y += strength · [w_1 z, ..., w_N z] B*ᵀ
//! ```
//!
//! A policy with weight zero adds products with an exact zero, so who else is in the pool or batch changes no row. That
//! needs finite factors: a policy whose `s B` is beyond f32 is left out, and merging it tells the error by name.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;
use tureen_kernels::{Panels, Precision};
use tureen_soup::{LoraModule, Method, Policy, PolicyWeights, Pool, Soup};

use super::weights::{Layout, Linear, Slot};
use crate::budget::Lease;
use crate::device::DeviceGates;

/// The stacked factors of one linear layer.
#[derive(Debug)]
pub(super) struct Stack {
    /// (R, in), R the sum of the ranks.
    pub(super) a: Panels,
    /// (out, R), scales folded in.
    pub(super) b: Panels,
    /// Policy and its place among the ranks.
    blocks: Vec<(usize, Range<usize>)>,
    largest_rank: usize,
}

/// The stacked factors of a pool, layer by layer.
#[derive(Debug)]
pub(crate) struct Gates {
    stacks: Stacks,
    /// For each policy, whether it changes nothing but what is stacked here.
    whole: Vec<bool>,
    /// Of a revision beside the current one.
    lease: Mutex<Option<Lease>>,
}

#[derive(Debug)]
enum Stacks {
    Host(Vec<[Option<Stack>; 7]>),
    Device(DeviceGates),
}

/// One row's gate: which soup it wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    factor: bool,
    strength: f32,
    /// One for each policy of the pool, in its order.
    weights: Vec<f32>,
}

impl Mix {
    /// The gate of `soup`; `None` for the base, and for methods that need merged weights.
    pub(crate) fn of(soup: &Soup) -> Option<Arc<Self>> {
        let factor = match soup.method() {
            Method::Exact => false,
            Method::Factor => true,
            _ => return None,
        };
        let weights = soup.weights().iter().map(|w| *w as f32).collect();
        (!soup.is_base()).then(|| Arc::new(Self { factor, strength: soup.strength() as f32, weights }))
    }

    /// Appends the weights, the strength, and 1 for the method `factor`: what [`tureen_cuda::Ranks::gate`] reads.
    pub(crate) fn write(&self, to: &mut Vec<f32>) {
        to.extend(&self.weights);
        to.extend([self.strength, f32::from(self.factor)]);
    }

    /// Turns `z = x A*ᵀ` into what `B*ᵀ` is multiplied with.
    pub(super) fn apply(&self, stack: &Stack, z: &mut [f32]) {
        if !self.factor {
            for (policy, ranks) in &stack.blocks {
                scale(&mut z[ranks.clone()], self.weights[*policy] * self.strength);
            }
            return;
        }
        // Unequal ranks are padded with zeros up to the largest.
        let mut sums: SmallVec<[f32; 64]> = SmallVec::from_elem(0.0, stack.largest_rank);
        for (policy, ranks) in &stack.blocks {
            let weight = self.weights[*policy];
            if weight == 0.0 {
                continue;
            }
            sums.iter_mut().zip(&z[ranks.clone()]).for_each(|(sum, z)| *sum += weight * z);
        }
        for (policy, ranks) in &stack.blocks {
            let z = &mut z[ranks.clone()];
            z.copy_from_slice(&sums[..z.len()]);
            scale(z, self.weights[*policy] * self.strength);
        }
    }
}

/// Zero is zero, whatever it is multiplied with: an infinity of a policy that this row does not want stays out of it.
fn scale(z: &mut [f32], gate: f32) {
    if gate == 0.0 { z.fill(0.0) } else { z.iter_mut().for_each(|z| *z *= gate) }
}

fn is_sound(module: &LoraModule) -> bool {
    module.b.iter().all(|b| scaled(module, *b).is_finite())
}

/// `s B`, one value of it.
pub(crate) fn scaled(module: &LoraModule, b: f32) -> f32 {
    (f64::from(b) * module.scale) as f32
}

impl Gates {
    /// Stacks the LoRA policies of `pool`; full-weight policies have no factors and take no part.
    ///
    /// # Errors
    /// When a device fails.
    pub(crate) fn new(pool: &Pool, layout: Layout<'_>) -> candle_core::Result<Self> {
        let layers = layout.config.num_hidden_layers;
        let stacks = match layout.target {
            Some(target) => Stacks::Device(DeviceGates::new(pool, target)?),
            None => {
                let stack = |layer| Slot::ALL.map(|slot| Stack::new(pool, &slot.module(layer), layout.precision));
                Stacks::Host((0..layers).map(stack).collect())
            }
        };
        let modules: HashSet<String> = (0..layers).flat_map(|layer| Slot::ALL.map(|slot| slot.module(layer))).collect();
        let whole = |policy: &Policy| match policy.weights() {
            PolicyWeights::Lora(lora) => lora.modules().iter().all(|(name, m)| modules.contains(name) && is_sound(m)),
            PolicyWeights::Full(_) => false,
        };
        let whole = pool.policies().iter().map(whole).collect();
        Ok(Self { stacks, whole, lease: Mutex::default() })
    }

    /// Bytes that the stacks of `pool` take.
    pub(crate) fn bytes(pool: &Pool, layout: Layout<'_>) -> u64 {
        if let Some(target) = layout.target {
            return DeviceGates::bytes(pool, target);
        }
        let (layers, precision) = (layout.config.num_hidden_layers, layout.precision);
        let modules = (0..layers).flat_map(|layer| Slot::ALL.map(|slot| slot.module(layer)));
        modules.map(|module| Stack::bytes(pool, &module, precision) as u64).sum()
    }

    /// They are paid for by `lease`, until the last one who uses them is gone.
    pub(crate) fn cover(&self, lease: Lease) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
    }

    /// They are the current revision's, which is outside the budget.
    pub(crate) fn uncover(&self) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the gate serves all that `soup` changes: a LoRA of the head, say, takes merged weights.
    pub(crate) fn serves(&self, soup: &Soup) -> bool {
        soup.weights().iter().zip(&self.whole).all(|(weight, whole)| *weight == 0.0 || *whole)
    }

    /// The stacked factors of one layer, where policies change it.
    pub(super) fn stack(&self, linear: Linear) -> Option<&Stack> {
        match &self.stacks {
            Stacks::Host(stacks) => stacks[linear.layer][linear.slot as usize].as_ref(),
            Stacks::Device(_) => unreachable!("a model on the CPU has its gates there"),
        }
    }

    /// The stacked factors on a device.
    ///
    /// # Panics
    /// When they are on the CPU: a model computes in one place.
    pub(crate) fn device(&self) -> &DeviceGates {
        match &self.stacks {
            Stacks::Device(gates) => gates,
            Stacks::Host(_) => unreachable!("a model on a device has its gates there"),
        }
    }
}

impl Stack {
    /// `None` when no policy changes `module`.
    fn new(pool: &Pool, module: &str, precision: Precision) -> Option<Self> {
        let found = changes(pool, module);
        let (_, first) = found.first()?;
        let (input, out) = (first.in_features, first.out_features);
        let ranks: usize = found.iter().map(|(_, m)| m.rank).sum();
        let a: Vec<f32> = found.iter().flat_map(|(_, m)| m.a.iter().copied()).collect();
        let mut b = Vec::with_capacity(out * ranks);
        for row in 0..out {
            for (_, module) in &found {
                let values = &module.b[row * module.rank..][..module.rank];
                b.extend(values.iter().map(|v| scaled(module, *v)));
            }
        }
        let mut start = 0;
        let blocks = found
            .iter()
            .map(|(index, module)| {
                let block = start..start + module.rank;
                start = block.end;
                (*index, block)
            })
            .collect();
        let largest_rank = found.iter().map(|(_, m)| m.rank).max().unwrap_or(0);
        let (a, b) = (Panels::pack(precision, ranks, input, &a), Panels::pack(precision, out, ranks, &b));
        Some(Self { a, b, blocks, largest_rank })
    }

    /// Bytes that the stack of `module` takes.
    fn bytes(pool: &Pool, module: &str, precision: Precision) -> usize {
        let found = changes(pool, module);
        let Some((_, first)) = found.first() else { return 0 };
        let ranks = found.iter().map(|(_, m)| m.rank).sum();
        Panels::bytes_of(precision, ranks, first.in_features) + Panels::bytes_of(precision, first.out_features, ranks)
    }
}

/// The policies that change `module`, by their places in the pool.
pub(crate) fn changes<'a>(pool: &'a Pool, module: &str) -> Vec<(usize, &'a LoraModule)> {
    let change = |(index, policy): (usize, &'a Policy)| match policy.weights() {
        PolicyWeights::Lora(lora) => Some((index, lora.modules().get(module).filter(|m| is_sound(m))?)),
        PolicyWeights::Full(_) => None,
    };
    pool.policies().iter().enumerate().filter_map(change).collect()
}
