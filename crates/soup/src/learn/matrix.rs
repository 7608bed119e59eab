//! Small symmetric matrices, row by row.

/// `M v`
pub(super) fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(v.len()).map(|row| dot(row, v)).collect()
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// `M + factor · v vᵀ`
pub(super) fn add_outer(matrix: &mut [f64], factor: f64, v: &[f64]) {
    for (row, vi) in matrix.chunks_exact_mut(v.len()).zip(v) {
        row.iter_mut().zip(v).for_each(|(entry, vj)| *entry += factor * vi * vj);
    }
}

pub(super) fn diagonal(matrix: &[f64], n: usize) -> impl Iterator<Item = f64> {
    matrix.iter().step_by(n + 1).copied()
}
