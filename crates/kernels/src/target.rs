//! Part of a row-major f32 matrix that one thread writes while others write theirs.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::simd::{LANES, Simd};

/// A matrix that several threads fill, each its own part.
pub(crate) struct Matrix<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stands for an exclusive borrow, and `part` asks its callers for disjoint parts of it.
unsafe impl Sync for Matrix<'_> {}
// SAFETY: as above; f32 may be written by any thread.
unsafe impl Send for Matrix<'_> {}

impl<'a> Matrix<'a> {
    /// `values` holds rows of `width` elements.
    pub(crate) fn new(values: &'a mut [f32], width: usize) -> Self {
        let rows = values.len() / width.max(1);
        Self { start: values.as_mut_ptr(), rows, width, values: PhantomData }
    }

    /// # Safety
    /// No other part alive shares an element with this one.
    ///
    /// # Panics
    /// When the matrix is smaller.
    pub(crate) unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Target<'a> {
        assert!(rows.end <= self.rows && columns.start <= columns.end && columns.end <= self.width);
        // SAFETY: both lie inside the matrix.
        let start = unsafe { self.start.add(rows.start * self.width + columns.start) };
        Target { start, stride: self.width, width: columns.len(), values: PhantomData }
    }
}

impl Matrix<'_> {
    /// # Safety
    /// Nobody else holds this row or a part of it.
    ///
    /// # Panics
    /// When there is no such row.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that it is exclusive")]
    pub(crate) unsafe fn row(&self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: inside the matrix, and the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width), self.width) }
    }
}

/// Some rows and columns.
pub(crate) struct Target<'a> {
    start: *mut f32,
    stride: usize,
    width: usize,
    values: PhantomData<&'a mut [f32]>,
}

impl Target<'_> {
    /// Sixteen values from `column` on, zeros beyond the width.
    ///
    /// # Safety
    /// The row is inside the part, and `column` below its width.
    #[inline(always)]
    pub(crate) unsafe fn load<S: Simd>(&self, s: S, row: usize, column: usize) -> S::F32 {
        // SAFETY: inside, as promised; a narrow rest is copied element by element.
        unsafe {
            let at = self.start.add(row * self.stride + column);
            if column + LANES <= self.width {
                return s.load(&*at.cast());
            }
            let mut padded = [0.0; LANES];
            std::ptr::copy_nonoverlapping(at, padded.as_mut_ptr(), self.width - column);
            s.load(&padded)
        }
    }

    /// Writes sixteen values from `column` on, but none beyond the width.
    ///
    /// # Safety
    /// As [`Self::load`].
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(&self, s: S, values: S::F32, row: usize, column: usize) {
        // SAFETY: as above.
        unsafe { self.store_some(s, values, row, column, (self.width - column).min(LANES)) }
    }

    /// Writes the first `lanes` of sixteen values.
    ///
    /// # Safety
    /// The row is inside the part, and so are `lanes` columns from `column` on; at most sixteen.
    #[inline(always)]
    pub(crate) unsafe fn store_some<S: Simd>(&self, s: S, values: S::F32, row: usize, column: usize, lanes: usize) {
        // SAFETY: inside, as promised.
        unsafe {
            let at = self.start.add(row * self.stride + column);
            if lanes == LANES {
                return s.store(values, &mut *at.cast());
            }
            let mut padded = [0.0; LANES];
            s.store(values, &mut padded);
            std::ptr::copy_nonoverlapping(padded.as_ptr(), at, lanes);
        }
    }
}
