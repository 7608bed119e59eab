//! A lane without a GPU.

use candle_core::Result;
use half::bf16;

use super::{Lane, Piece};
use crate::axpy::sum_at;

pub(super) struct HostLane {
    input: Vec<bf16>,
    output: Vec<f32>,
}

impl HostLane {
    pub(super) fn new(capacity: usize) -> Self {
        Self { input: vec![bf16::ZERO; capacity], output: Vec::new() }
    }
}

impl Lane for HostLane {
    fn input(&mut self) -> Result<&mut [bf16]> {
        Ok(&mut self.input)
    }

    fn start(&mut self, Piece { weights, toward, stride, length }: Piece<'_>) -> Result<()> {
        let sources: Vec<&[bf16]> = self.input.chunks_exact(stride).take(weights.len()).collect();
        self.output.clear();
        self.output.extend((0..length).map(|at| sum_at(toward, &sources, weights, at)));
        Ok(())
    }

    fn finish(&mut self) -> Result<&[f32]> {
        Ok(&self.output)
    }
}
