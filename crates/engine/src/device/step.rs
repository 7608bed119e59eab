//! What a step computes, as tensors on the device.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use tureen_cuda::{NOWHERE, Uploaded};

use super::gates::DeviceGates;
use super::weights::DeviceWeights;
use crate::kv::SequenceCache;
use crate::model::{Batch, Group, Row};

/// Neighbouring rows that share their weights.
pub(super) struct Run<'a> {
    pub(super) rows: Range<usize>,
    pub(super) weights: &'a DeviceWeights,
    /// Stacked policies, and the mix of each row; zeros for rows that have none of them.
    pub(super) gates: Vec<(&'a DeviceGates, Tensor)>,
}

/// Sequences that are attended to together.
pub(super) enum Span {
    /// One row of each, by the table of [`tureen_cuda::attend`].
    Decoding { rows: usize, table: Tensor },
    /// Several rows of one sequence.
    Several {
        rows: usize,
        context: usize,
        /// Where its positions lie, (context).
        slots: Tensor,
        /// (rows, context) f32: zero for what a row sees, minus infinity for the rest.
        mask: Tensor,
    },
}

impl Span {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Decoding { rows, .. } | Self::Several { rows, .. } => *rows,
        }
    }
}

/// A step, uploaded.
pub(super) struct Step<'a> {
    /// (rows) u32, as the next one.
    pub(super) tokens: Tensor,
    pub(super) positions: Tensor,
    /// (rows) u32: where each row's keys and values go.
    pub(super) slots: Tensor,
    pub(super) spans: Vec<Span>,
    /// Rows in the order of the spans, and the way back; `None` when that is their own.
    pub(super) order: Option<[Tensor; 2]>,
    pub(super) runs: Vec<Run<'a>>,
    /// Rows whose logits are wanted.
    pub(super) wanted: Vec<usize>,
    /// How a token is chosen after each of these; `None` where all logits are to come back.
    pub(super) choices: Option<Uploaded>,
}

impl<'a> Step<'a> {
    pub(super) fn new(batch: &Batch<'a>, caches: &[&SequenceCache], device: &Device) -> Result<Self> {
        let rows = batch.rows;
        let upload = |values: Vec<u32>| {
            let count = values.len();
            Tensor::from_vec(values, count, device)
        };
        let slots: Vec<u32> = rows.iter().map(|row| caches[row.cache].slot(row.position)).collect();
        let (order, spans) = spans(rows, caches, device)?;
        let order = match order.iter().enumerate().all(|(at, row)| at == *row as usize) {
            true => None,
            false => {
                let mut back = vec![0; order.len()];
                order.iter().enumerate().for_each(|(at, row)| back[*row as usize] = at as u32);
                Some([upload(order)?, upload(back)?])
            }
        };
        Ok(Self {
            tokens: upload(rows.iter().map(|row| row.token).collect())?,
            positions: upload(rows.iter().map(|row| row.position as u32).collect())?,
            slots: upload(slots)?,
            spans,
            order,
            runs: runs(batch, device)?,
            wanted: (0..rows.len()).filter(|row| rows[*row].wanted).collect(),
            // Now: the device has nothing to do yet that an upload would wait for.
            choices: batch.choices.map(|choices| choices.upload(device)).transpose()?,
        })
    }
}

/// Sequences with one row together, each of the others alone; and the rows in the order of the spans.
fn spans(rows: &[Row], caches: &[&SequenceCache], device: &Device) -> Result<(Vec<u32>, Vec<Span>)> {
    // Rows of one sequence are neighbours, so these are in the order of their rows.
    let sequences = rows.chunk_by(|a, b| a.cache == b.cache).scan(0, |start, own| {
        let first = std::mem::replace(start, *start + own.len());
        Some((first as u32..*start as u32, own))
    });
    let (single, several): (Vec<_>, Vec<_>) = sequences.partition(|(_, own)| own.len() == 1);
    let order = single.iter().chain(&several).flat_map(|(rows, _)| rows.clone()).collect();
    let single: Vec<&Row> = single.iter().map(|(_, own)| &own[0]).collect();
    let mut spans = Vec::with_capacity(several.len() + 1);
    if !single.is_empty() {
        spans.push(decoding(&single, caches, device)?);
    }
    for (_, own) in several {
        spans.push(alone(own, caches[own[0].cache], device)?);
    }
    Ok((order, spans))
}

fn decoding(rows: &[&Row], caches: &[&SequenceCache], device: &Device) -> Result<Span> {
    let context = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
    let mut table = vec![NOWHERE; rows.len() * context];
    for (row, table) in rows.iter().zip(table.chunks_exact_mut(context)) {
        let seen = table[..=row.position].iter_mut().enumerate();
        seen.for_each(|(position, slot)| *slot = caches[row.cache].slot(position));
    }
    Ok(Span::Decoding { rows: rows.len(), table: Tensor::from_vec(table, (rows.len(), context), device)? })
}

fn alone(rows: &[Row], cache: &SequenceCache, device: &Device) -> Result<Span> {
    let context = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
    let slots: Vec<u32> = (0..context).map(|position| cache.slot(position)).collect();
    let mut mask = vec![f32::NEG_INFINITY; rows.len() * context];
    rows.iter().zip(mask.chunks_exact_mut(context)).for_each(|(row, mask)| mask[..=row.position].fill(0.0));
    let (slots, mask) =
        (Tensor::from_vec(slots, context, device)?, Tensor::from_vec(mask, (rows.len(), context), device)?);
    Ok(Span::Several { rows: rows.len(), context, slots, mask })
}

fn runs<'a>(batch: &Batch<'a>, device: &Device) -> Result<Vec<Run<'a>>> {
    let mut runs = Vec::new();
    for groups in batch.groups.chunk_by(|a, b| Arc::ptr_eq(&a.weights, &b.weights)) {
        let rows = groups[0].rows.start..groups[groups.len() - 1].rows.end;
        let gates = groups.chunk_by(same_gates).filter_map(|same| {
            let gates = same[0].gates.as_ref()?.device();
            let own = same[0].rows.start..same[same.len() - 1].rows.end;
            Some(mixes(batch, gates, &rows, &own, device).map(|mixes| (gates, mixes)))
        });
        runs.push(Run { gates: gates.collect::<Result<_>>()?, weights: groups[0].weights.device(), rows });
    }
    Ok(runs)
}

fn same_gates(a: &Group, b: &Group) -> bool {
    match (&a.gates, &b.gates) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The mixes of `own` rows, zeros for the others of `rows`.
fn mixes(
    batch: &Batch<'_>,
    gates: &DeviceGates,
    rows: &Range<usize>,
    own: &Range<usize>,
    device: &Device,
) -> Result<Tensor> {
    let width = gates.policies + 2;
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in rows.clone() {
        match batch.mixes[row].as_ref().filter(|_| own.contains(&row)) {
            Some(mix) => mix.write(&mut values),
            None => values.resize(values.len() + width, 0.0),
        }
    }
    Tensor::from_vec(values, (rows.len(), width), device)
}
