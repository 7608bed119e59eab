//! The twin of `soup_choose`: the same numbers, found by sorting. As all sums are of whole numbers, the order in which the
//! kernel's threads come does not matter, nor does it here.

use super::orders::{GIVEN, LIKELIEST, NONE, WORDS};
use crate::values::Value;

const ID_BITS: u32 = 24;
const IDS: u64 = (1 << ID_BITS) - 1;

/// `copies` are as many as there are rows with changes.
pub(super) fn choose<T: Value>(
    logits: &[T],
    vocabulary: usize,
    [orders, changes]: [&[u32]; 2],
    copies: usize,
) -> Vec<u32> {
    let mut copies = vec![0.0; copies * vocabulary];
    let rows = logits.chunks_exact(vocabulary).zip(orders.as_chunks::<WORDS>().0);
    rows.flat_map(|(logits, orders)| {
        // Minus zero is zero.
        let values: Vec<f32> = logits.iter().map(|logit| logit.get() + 0.0).collect();
        of_row(&values, orders, changes, &mut copies).unwrap_or([NONE, 0, 0, 0])
    })
    .collect()
}

/// `None` where a value is not finite.
fn of_row(values: &[f32], orders: &[u32; WORDS], changes: &[u32], copies: &mut [f32]) -> Option<[u32; 4]> {
    let (best, largest) = likeliest(values)?;
    let total: u64 = keys(values, largest, 1.0).map(mass).sum();
    let changes = &changes.as_chunks::<2>().0[orders[7] as usize..orders[8] as usize];
    let changed = if orders[0] == GIVEN || changes.is_empty() {
        values
    } else {
        let copy = &mut copies[orders[1] as usize * values.len()..][..values.len()];
        copy.copy_from_slice(values);
        change(copy, changes, f32::from_bits(orders[6]));
        copy
    };
    let id = match orders[0] {
        GIVEN => orders[1],
        LIKELIEST if changes.is_empty() => best,
        rule => {
            let (best, largest) = likeliest(changed)?;
            let drawn = || drawn(keys(changed, largest, f32::from_bits(orders[2])), orders);
            (rule != LIKELIEST).then(drawn).flatten().unwrap_or(best)
        }
    };
    let below = values[id as usize] - largest;
    Some([id, below.to_bits(), total as u32, (total >> 32) as u32])
}

/// The largest value and where it is, the first of equal ones.
fn likeliest(values: &[f32]) -> Option<(u32, f32)> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, value) in values.iter().enumerate() {
        if !value.is_finite() {
            return None;
        }
        if *value > best.1 {
            best = (id as u32, *value);
        }
    }
    Some(best)
}

fn change(values: &mut [f32], changes: &[[u32; 2]], penalty: f32) {
    for [token, bias] in changes {
        let value = &mut values[(token >> 1) as usize];
        *value += f32::from_bits(*bias);
        if token & 1 == 1 {
            *value = if *value > 0.0 { *value / penalty } else { *value * penalty };
        }
    }
}

/// Each token's weight and id, in one number of their order.
fn keys(values: &[f32], largest: f32, inverse: f32) -> impl Iterator<Item = u64> {
    let key = move |(id, value): (usize, &f32)| {
        u64::from(exponential((value - largest) * inverse).to_bits()) << ID_BITS | (IDS - id as u64)
    };
    values.iter().enumerate().map(key)
}

fn id_of(key: u64) -> u32 {
    (IDS - (key & IDS)) as u32
}

/// Its weight in units of 2^-44.
fn mass(key: u64) -> u64 {
    (f32::from_bits((key >> ID_BITS) as u32) * (1_u64 << 44) as f32) as u64
}

/// e^x for x up to 0, as the kernel computes it.
fn exponential(x: f32) -> f32 {
    // Zero where it is no number, too.
    if x.is_nan() || x <= -87.0 {
        return 0.0;
    }
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let factors = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let p = factors.iter().fold(1.987_569_1e-4_f32, |p, factor| p.mul_add(r, *factor));
    let p = p.mul_add(r * r, r) + 1.0;
    p * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// `None` where nothing weighs anything.
fn drawn(keys: impl Iterator<Item = u64>, orders: &[u32; WORDS]) -> Option<u32> {
    let number = |at: usize| u64::from(orders[at]) | u64::from(orders[at + 1]) << 32;
    let (sorted, top_k, min_p, top_p, draw) = (orders[3] != 0, orders[4], orders[5], number(9), number(11));
    let mut kept: Vec<u64> = keys.collect();
    if sorted {
        kept.sort_unstable_by(|a, b| b.cmp(a));
        if top_k > 0 {
            kept.truncate(top_k as usize);
        }
        let total = total(&kept);
        if top_p > 0 && total > 0 {
            let (part, exact) = part(top_p, total);
            // As many as are needed to reach it.
            let goal = if exact && part > 0 { part - 1 } else { part };
            let last = exceeding(&kept, goal)?;
            kept.truncate(last + 1);
        }
        kept.retain(|key| *key >= u64::from(min_p) << ID_BITS);
    }
    let total = total(&kept);
    if total == 0 {
        return None;
    }
    exceeding(&kept, part(draw, total).0).map(|at| id_of(kept[at]))
}

fn total(keys: &[u64]) -> u64 {
    keys.iter().map(|key| mass(*key)).sum()
}

/// The part `number` / 2^64 of `total`, and whether it is that exactly.
fn part(number: u64, total: u64) -> (u64, bool) {
    let product = u128::from(number) * u128::from(total);
    ((product >> 64) as u64, product as u64 == 0)
}

/// Where the sum exceeds `goal`.
fn exceeding(keys: &[u64], goal: u64) -> Option<usize> {
    let mut sum = 0;
    keys.iter().position(|key| {
        sum += mass(*key);
        sum > goal
    })
}
