//! A weight matrix as the kernels read it.

use crate::kernels::Isa;

/// Weights of a linear layer: (out, in) row-major f32, and its bias where it has one.
#[derive(Debug)]
pub(crate) struct Matrix {
    out: usize,
    input: usize,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Matrix {
    /// # Panics
    /// When the values do not fill the shape.
    pub(crate) fn new(out: usize, input: usize, weight: Vec<f32>, bias: Option<Vec<f32>>) -> Self {
        assert_eq!(weight.len(), out * input);
        assert!(bias.as_ref().is_none_or(|b| b.len() == out));
        Self { out, input, weight, bias }
    }

    pub(crate) fn out(&self) -> usize {
        self.out
    }

    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// (out, in) row-major.
    pub(crate) fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// (out)
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// One row.
    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.weight[index * self.input..][..self.input]
    }

    /// `y (rows, out) = x (rows, in) · Wᵀ + bias`
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        isa.linear(x, &self.weight, self.input, y, false);
        if let Some(bias) = &self.bias {
            y.chunks_exact_mut(self.out).for_each(|row| crate::kernels::add(row, bias));
        }
    }

    /// `y += x · Wᵀ`
    pub(crate) fn accumulate(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        isa.linear(x, &self.weight, self.input, y, true);
    }
}
