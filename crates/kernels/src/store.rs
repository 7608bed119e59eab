//! Rotary positions, and keys and values into their pages.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::Compute;
use crate::cache::{CacheBatch, Entry};
use crate::page::{PAGE, PageShape};
use crate::precision::Precision;
use crate::simd::LANES;
use crate::target::Matrix;

/// Cosines and sines of rotary positions, (positions, head_dim / 2) each.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// cos(position · frequency)
    pub cos: &'a [f32],
    /// sin(position · frequency)
    pub sin: &'a [f32],
}

impl Compute {
    /// Rotates queries and keys in place and writes keys and values to the pages of `layer`.
    ///
    /// `query` (rows, heads · head_dim), `key` and `value` (rows, kv heads · head_dim), f32 row-major. A head's two halves
    /// are rotated against each other (Su et al., arXiv 2104.09864, in the order of Hugging Face's LLaMA).
    ///
    /// # Panics
    /// When the shapes do not fit, or a position is beyond the table.
    pub fn store(
        &self,
        layer: usize,
        rotation: Rotation<'_>,
        [query, key, value]: [&mut [f32]; 3],
        batch: &mut CacheBatch<'_>,
    ) {
        let (batch, shape, rows) = (&*batch, batch.shape(), batch.rows());
        let width = shape.heads * shape.head_dim;
        let queries = query.len() / rows.max(1);
        assert!(layer < shape.layers && key.len() == rows * width && value.len() == rows * width);
        assert!(query.len() == rows * queries && queries.is_multiple_of(shape.head_dim));
        let furthest = batch.sequences().iter().map(|e| e.position + e.rows.len()).max().unwrap_or(0);
        let half = shape.head_dim / 2;
        assert!(rotation.cos.len().min(rotation.sin.len()) >= furthest * half, "position {furthest}");
        let units = batch.sequences().iter().map(|entry| entry.written().len()).sum();
        let (query, key) = (Matrix::new(query, queries), Matrix::new(key, width));
        self.team().run(units, &|unit| {
            let (entry, page) = written(batch.sequences(), unit);
            let lines = batch.page(entry, page);
            for row in entry.rows_of_page(page) {
                let position = entry.position + row - entry.rows.start;
                let table = position * half..(position + 1) * half;
                let (cos, sin) = (&rotation.cos[table.clone()], &rotation.sin[table]);
                // SAFETY: every row belongs to one page of one sequence, and so to one unit.
                let (query, key) = unsafe { (query.row(row), key.row(row)) };
                query.chunks_exact_mut(shape.head_dim).for_each(|head| rotate(head, cos, sin));
                key.chunks_exact_mut(shape.head_dim).for_each(|head| rotate(head, cos, sin));
                let values = &value[row * width..][..width];
                let heads = key.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
                for (head, (key, value)) in heads.enumerate() {
                    // SAFETY: the page is this sequence's own (`CacheBatch::push`) and this unit's alone, and holds the
                    // lines of every layer and head.
                    let lines = unsafe { lines.add(shape.keys_at(layer, head)) }.cast::<u32>();
                    // SAFETY: as above.
                    unsafe { write(shape, lines, position % PAGE, key, value) };
                }
            }
        });
    }
}

/// The page that a unit writes: units count the written pages of one sequence after the other.
fn written(sequences: &[Entry], mut unit: usize) -> (&Entry, usize) {
    for entry in sequences {
        let Range { start, end } = entry.written();
        if unit < end - start {
            return (entry, start + unit);
        }
        unit -= end - start;
    }
    unreachable!("there are as many units as written pages")
}

fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (left, right) = head.split_at_mut(cos.len());
    for ((left, right), (cos, sin)) in left.iter_mut().zip(right).zip(cos.iter().zip(sin)) {
        (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
    }
}

/// # Safety
/// `lines` points to the keys of a head, its values behind them, and nobody else uses them.
unsafe fn write(shape: PageShape, lines: *mut u32, slot: usize, key: &[f32], value: &[f32]) {
    let values = shape.key_lines() * LANES;
    // SAFETY: lanes and lines are within those of one head.
    unsafe {
        match shape.precision {
            Precision::F32 => {
                for (k, key) in key.iter().enumerate() {
                    *lines.add(k * LANES + slot) = key.to_bits();
                }
                for (i, value) in value.iter().enumerate() {
                    let (panel, lane) = (i / LANES, i % LANES);
                    *lines.add(values + (panel * PAGE + slot) * LANES + lane) = value.to_bits();
                }
            }
            Precision::Bf16 | Precision::Int8 => {
                let halves = lines.cast::<u16>();
                for (k, key) in key.iter().enumerate() {
                    *halves.add((k / 2 * LANES + slot) * 2 + k % 2) = bf16(*key);
                }
                for (i, value) in value.iter().enumerate() {
                    let (panel, lane) = (i / LANES, i % LANES);
                    let line = panel * (PAGE / 2) + slot / 2;
                    *halves.add(values * 2 + (line * LANES + lane) * 2 + slot % 2) = bf16(*value);
                }
            }
        }
    }
}

fn bf16(x: f32) -> u16 {
    half::bf16::from_f32(x).to_bits()
}
