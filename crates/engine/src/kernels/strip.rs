//! A row-major matrix that several threads fill, each its own columns.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

/// A matrix to be filled by columns.
pub(super) struct Strips<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stands for an exclusive borrow, and `columns` asks its callers for disjoint parts of it.
unsafe impl Sync for Strips<'_> {}

/// The columns of one task.
pub(super) struct Columns<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    len: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

impl<'a> Strips<'a> {
    /// `matrix` holds rows of `width` elements.
    pub(super) fn new(matrix: &'a mut [f32], width: usize) -> Self {
        Self { start: matrix.as_mut_ptr(), rows: matrix.len() / width, width, matrix: PhantomData }
    }

    /// # Safety
    /// `range` lies within the width, and no other `Columns` alive holds one of these columns.
    pub(super) unsafe fn columns(&self, range: Range<usize>) -> Columns<'a> {
        debug_assert!(range.start <= range.end && range.end <= self.width);
        // SAFETY: the range lies in the first row, so the pointer stays inside the matrix.
        let start = unsafe { self.start.add(range.start) };
        Columns { start, rows: self.rows, width: self.width, len: range.len(), matrix: PhantomData }
    }
}

impl Columns<'_> {
    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One row of these columns.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: `row` is inside the matrix and these columns are ours alone, as promised to `Strips::columns`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width), self.len) }
    }
}
