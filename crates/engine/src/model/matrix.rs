//! Weights as the kernels read them.

use std::sync::Arc;

use half::bf16;
use tureen_kernels::{Panels, Precision};

/// Weights of a linear layer, packed, and its bias where it has one.
#[derive(Debug)]
pub(crate) struct Matrix {
    panels: Arc<Panels>,
    bias: Option<Vec<f32>>,
}

impl Matrix {
    /// # Panics
    /// When the bias does not fit the weights.
    pub(crate) fn new(panels: Arc<Panels>, bias: Option<Vec<f32>>) -> Self {
        assert!(bias.as_ref().is_none_or(|b| b.len() == panels.out()));
        Self { panels, bias }
    }

    /// (out, in)
    pub(crate) fn panels(&self) -> &Arc<Panels> {
        &self.panels
    }

    /// (out)
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }
}

/// One row of values for each token: bf16, but f32 where all is f32.
#[derive(Debug)]
pub(crate) struct Embedding {
    width: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Embedding {
    /// `weight` (vocabulary, `width`) row-major.
    pub(crate) fn new(precision: Precision, width: usize, weight: Vec<f32>) -> Self {
        let values = match precision {
            Precision::F32 => Values::F32(weight),
            Precision::Bf16 | Precision::Int8 => Values::Bf16(weight.into_iter().map(bf16::from_f32).collect()),
        };
        Self { width, values }
    }

    /// Bytes of a table of `elements`.
    pub(crate) fn bytes(precision: Precision, elements: usize) -> usize {
        let size = if precision == Precision::F32 { size_of::<f32>() } else { size_of::<bf16>() };
        elements * size
    }

    /// Copies a token's row.
    pub(crate) fn read(&self, token: u32, to: &mut [f32]) {
        let range = token as usize * self.width..(token as usize + 1) * self.width;
        match &self.values {
            Values::F32(values) => to.copy_from_slice(&values[range]),
            Values::Bf16(values) => to.iter_mut().zip(&values[range]).for_each(|(to, x)| *to = x.to_f32()),
        }
    }
}
