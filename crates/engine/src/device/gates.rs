//! The stacked policies of packed linear layers.

use candle_core::{Result, Tensor};
use tureen_cuda::{Block, Ranks};
use tureen_soup::Pool;

use super::Part;
use super::weights::Target;
use crate::model::gate::{changes, scaled};
use crate::model::weights::Slot;

/// The stacked factors of one packed linear layer.
#[derive(Debug)]
pub(super) struct Stack {
    /// (R, in), R the sum of the ranks over policies and layers.
    pub(super) a: Tensor,
    /// (out, R): each linear layer's rows have their own columns, the rest is zero.
    pub(super) b: Tensor,
    pub(super) ranks: Ranks,
}

/// The stacked factors of a pool, layer by layer.
#[derive(Debug)]
pub(crate) struct DeviceGates {
    stacks: Vec<[Option<Stack>; 4]>,
    pub(super) policies: usize,
}

impl DeviceGates {
    /// Stacks the LoRA policies of `pool`.
    pub(crate) fn new(pool: &Pool, target: Target<'_>) -> Result<Self> {
        let policies = pool.policies().len();
        let layer = |layer| {
            let [qkv, output, gate_up, down] = Part::ALL.map(|part| stack(pool, target, (layer, part)));
            Ok([qkv?, output?, gate_up?, down?])
        };
        Ok(Self { stacks: (0..target.config.num_hidden_layers).map(layer).collect::<Result<_>>()?, policies })
    }

    /// Bytes that the stacks of `pool` take.
    pub(crate) fn bytes(pool: &Pool, target: Target<'_>) -> u64 {
        let config = target.config;
        let parts = (0..config.num_hidden_layers).flat_map(|layer| Part::ALL.map(|part| (layer, part)));
        let values = parts.map(|(layer, part)| {
            let slots = part.slots().iter();
            let out: usize = slots.clone().map(|slot| slot.shape(config)[0]).sum();
            let ranks = |slot: &Slot| -> usize {
                changes(pool, &slot.module(layer)).iter().map(|(_, module)| module.rank).sum()
            };
            let ranks: usize = slots.map(ranks).sum();
            ranks * (out + part.slots()[0].shape(config)[1])
        });
        (values.sum::<usize>() * target.dtype.size_in_bytes()) as u64
    }

    pub(super) fn stack(&self, layer: usize, part: Part) -> Option<&Stack> {
        self.stacks[layer][part as usize].as_ref()
    }
}

/// `None` when no policy changes any of its layers.
fn stack(
    pool: &Pool,
    Target { config, device, dtype }: Target<'_>,
    (layer, part): (usize, Part),
) -> Result<Option<Stack>> {
    let found: Vec<_> = part.slots().iter().map(|slot| changes(pool, &slot.module(layer))).collect();
    let width: usize = found.iter().flatten().map(|(_, module)| module.rank).sum();
    if width == 0 {
        return Ok(None);
    }
    let shapes: Vec<[usize; 2]> = part.slots().iter().map(|slot| slot.shape(config)).collect();
    let (out, input) = (shapes.iter().map(|[out, _]| out).sum::<usize>(), shapes[0][1]);
    let (mut a, mut b) = (Vec::with_capacity(width * input), vec![0.0; out * width]);
    let (mut blocks, mut column, mut first_row) = (Vec::new(), 0, 0);
    for (slot, modules) in found.iter().enumerate() {
        for (policy, module) in modules {
            a.extend_from_slice(&module.a);
            for (row, values) in module.b.chunks_exact(module.rank).enumerate() {
                let to = &mut b[(first_row + row) * width + column..][..module.rank];
                to.iter_mut().zip(values).for_each(|(to, value)| *to = scaled(module, *value));
            }
            blocks.push(Block { part: slot, policy: *policy, ranks: column..column + module.rank });
            column += module.rank;
        }
        first_row += shapes[slot][0];
    }
    let a = Tensor::from_vec(a, (width, input), device)?.to_dtype(dtype)?;
    let b = Tensor::from_vec(b, (out, width), device)?.to_dtype(dtype)?;
    Ok(Some(Stack { a, b, ranks: Ranks::new(&blocks, pool.policies().len(), device)? }))
}
