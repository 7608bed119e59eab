//! Logits of a whole text: for comparing and explaining, between two steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;

use super::{Served, Setup};
use crate::error::GenerationError;
use crate::model::{Batch, Group, KvCache, Row};
use crate::soups::State;

/// One text to compute.
pub(crate) struct LogitsJob {
    pub(crate) tokens: Vec<u32>,
    pub(crate) served: Served,
    pub(crate) cache: KvCache,
    pub(crate) reply: SyncSender<Result<Vec<Vec<f32>>, GenerationError>>,
}

impl LogitsJob {
    pub(super) fn run(mut self, setup: &Setup) {
        let result = catch_unwind(AssertUnwindSafe(|| self.compute(setup)));
        let _ = self.reply.send(result.unwrap_or(Err(GenerationError::Panicked)));
    }

    pub(super) fn refuse(self, error: GenerationError) {
        let _ = self.reply.send(Err(error));
    }

    fn compute(&mut self, setup: &Setup) -> Result<Vec<Vec<f32>>, GenerationError> {
        let weights = match &self.served {
            Served::Gate(_) => setup.base.clone(),
            Served::Materialised(cell) => match cell.state() {
                State::Ready(weights) => weights,
                State::Pending => return Err(GenerationError::Merge("it is not merged yet".into())),
                State::Failed(reason) => return Err(GenerationError::Merge(reason)),
            },
        };
        let mut scratch = setup.model.scratch();
        let mut all = Vec::with_capacity(self.tokens.len());
        let chunk = setup.prefill_chunk;
        for start in (0..self.tokens.len()).step_by(chunk) {
            let tokens = &self.tokens[start..(start + chunk).min(self.tokens.len())];
            let row = |(i, token): (usize, &u32)| Row { token: *token, position: start + i, cache: 0, logits: true };
            let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
            let gates = match &self.served {
                Served::Gate(Some((gates, mix))) => Some((gates.clone(), vec![mix.clone(); rows.len()])),
                _ => None,
            };
            let groups = [Group { rows: 0..rows.len(), weights: weights.clone(), gates }];
            let batch = Batch { rows: &rows, groups: &groups };
            let (model, cache) = (&setup.model, &mut self.cache);
            let logits = model.forward(&setup.compute, &batch, &mut [cache], &mut scratch);
            all.extend(logits.chunks_exact(model.config().vocab_size).map(<[f32]>::to_vec));
        }
        Ok(all)
    }
}
