//! Rotary positions, and keys and values into their pages.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::Compute;
use crate::cache::{CacheBatch, Entry};
use crate::line::Line;
use crate::page::{PAGE, PageShape};
use crate::precision::Precision;
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};
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
                let value = &value[row * width..][..width];
                // SAFETY: the page is this sequence's own (`CacheBatch::push`) and this unit's alone, and holds the lines of
                // every layer and head.
                let lines = unsafe { lines.add(shape.keys_at(layer, 0)) }.cast();
                self.isa().run(Row { shape, lines, slot: position % PAGE, cos, sin, query, key, value });
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

/// One position of a layer.
struct Row<'a> {
    shape: PageShape,
    /// The words of the layer's lines in the page; nobody else uses them.
    lines: *mut u32,
    /// Its place in the page.
    slot: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    query: &'a mut [f32],
    key: &'a mut [f32],
    value: &'a [f32],
}

impl Op for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, lines, slot, cos, sin, query, key, value } = self;
        for line in 0..shape.heads * shape.head_lines() {
            s.fetch(lines.cast::<Line>().wrapping_add(line));
        }
        for head in query.chunks_exact_mut(shape.head_dim).chain(key.chunks_exact_mut(shape.head_dim)) {
            rotate(s, head, cos, sin);
        }
        let heads = key.chunks_exact(shape.head_dim).zip(value.chunks_exact(shape.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let keys = lines.wrapping_add(head * shape.head_lines() * LANES);
            let values = keys.wrapping_add(shape.key_lines() * LANES);
            // SAFETY: the layer has the lines of each head, and they are this row's alone.
            unsafe {
                if shape.precision == Precision::F32 {
                    write_f32(keys, values, slot, key, value);
                } else {
                    write_bf16(s, keys, values, slot, key, value);
                }
            }
        }
    }
}

/// Rounds each product and each sum, with and without vectors.
#[inline(always)]
fn rotate<S: Simd>(s: S, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (left, right) = head.split_at_mut(cos.len());
    let (left, left_rest) = left.as_chunks_mut::<LANES>();
    let (right, right_rest) = right.as_chunks_mut::<LANES>();
    let ((cos, cos_rest), (sin, sin_rest)) = (cos.as_chunks::<LANES>(), sin.as_chunks::<LANES>());
    for ((left, right), (cos, sin)) in left.iter_mut().zip(right).zip(cos.iter().zip(sin)) {
        let (a, b, cos, sin) = (s.load(left), s.load(right), s.load(cos), s.load(sin));
        s.store(s.sub(s.mul(a, cos), s.mul(b, sin)), left);
        s.store(s.add(s.mul(b, cos), s.mul(a, sin)), right);
    }
    for ((left, right), (cos, sin)) in left_rest.iter_mut().zip(right_rest).zip(cos_rest.iter().zip(sin_rest)) {
        (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
    }
}

/// # Safety
/// `keys` and `values` are the words of one head, and nobody else uses them.
#[inline(always)]
unsafe fn write_f32(keys: *mut u32, values: *mut u32, slot: usize, key: &[f32], value: &[f32]) {
    for (k, key) in key.iter().enumerate() {
        // SAFETY: there is a line for each dimension.
        unsafe { *keys.add(k * LANES + slot) = key.to_bits() };
    }
    for (i, value) in value.iter().enumerate() {
        let (panel, lane) = (i / LANES, i % LANES);
        // SAFETY: there is a panel for sixteen dimensions, and in it a line for each position.
        unsafe { *values.add((panel * PAGE + slot) * LANES + lane) = value.to_bits() };
    }
}

/// # Safety
/// As [`write_f32`].
#[inline(always)]
unsafe fn write_bf16<S: Simd>(s: S, keys: *mut u32, values: *mut u32, slot: usize, key: &[f32], value: &[f32]) {
    for at in (0..key.len()).step_by(LANES) {
        let bits = s.to_bf16(load_part(s, key, at));
        let pairs = (key.len() - at).min(LANES).div_ceil(2);
        for (i, pair) in bits.as_chunks::<2>().0[..pairs].iter().enumerate() {
            // SAFETY: there is a line for two dimensions, the padding of an odd one included.
            unsafe { *keys.add((at / 2 + i) * LANES + slot) = u32::from(pair[0]) | u32::from(pair[1]) << 16 };
        }
        let line = (at / LANES * (PAGE / 2) + slot / 2) * LANES;
        for (lane, bits) in s.to_bf16(load_part(s, value, at)).into_iter().enumerate() {
            // SAFETY: there is a panel for sixteen dimensions, the last one padded, and in it a line for two positions.
            unsafe { *values.cast::<u16>().add((line + lane) * 2 + slot % 2) = bits };
        }
    }
}
