//! Logits of a whole text: for comparing and explaining, between two steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;

use super::Setup;
use super::served::Served;
use crate::error::{GenerationError, SubmitError};
use crate::kv::SequenceCache;
use crate::model::{Batch, Group, Logits, Row};

/// One text to compute.
pub(crate) struct LogitsJob {
    pub(crate) tokens: Vec<u32>,
    /// Its soup is ready.
    pub(crate) served: Served,
    pub(crate) reply: SyncSender<Result<Vec<Vec<f32>>, GenerationError>>,
}

impl LogitsJob {
    /// Computes it; tells whether that went well.
    pub(super) fn run(self, setup: &Setup) -> bool {
        let result = catch_unwind(AssertUnwindSafe(|| self.compute(setup)));
        let result = result.unwrap_or(Err(GenerationError::Panicked));
        let went_well = result.is_ok();
        let _ = self.reply.send(result);
        went_well
    }

    pub(super) fn refuse(self, error: GenerationError) {
        let _ = self.reply.send(Err(error));
    }

    fn compute(&self, setup: &Setup) -> Result<Vec<Vec<f32>>, GenerationError> {
        let weights = self.served.weights(&setup.base);
        let weights = weights.ok_or_else(|| GenerationError::Merge("it is not merged yet".into()))?;
        let mut cache = SequenceCache::new(setup.kv.clone(), self.tokens.len());
        while !cache.reserve(self.tokens.len()) {
            if !setup.soups.make_room() {
                return Err(self.out_of_memory(setup).into());
            }
        }
        let mut scratch = setup.scratch();
        let mut all = Vec::with_capacity(self.tokens.len());
        for tokens in self.tokens.chunks(setup.prefill_chunk) {
            let start = cache.computed();
            let row = |(i, token): (usize, &u32)| Row { token: *token, position: start + i, cache: 0, wanted: true };
            let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
            let gates = match &self.served {
                Served::Gate(Some((gates, _))) => Some(gates.clone()),
                _ => None,
            };
            let mixes = vec![self.served.mix().cloned(); rows.len()];
            let groups = [Group { rows: 0..rows.len(), weights: weights.clone(), gates }];
            let batch = Batch { rows: &rows, mixes: &mixes, groups: &groups, choices: None };
            let caches = std::iter::once(&mut cache);
            let logits = setup.model.forward(&setup.compute, &batch, caches, &mut scratch);
            let Logits::All(logits) = logits.map_err(|e| GenerationError::of_device(&e))? else {
                unreachable!("nothing was to be chosen")
            };
            all.extend(logits.chunks_exact(setup.model.config().vocab_size).map(<[f32]>::to_vec));
            cache.advance(rows.len());
        }
        Ok(all)
    }

    fn out_of_memory(&self, setup: &Setup) -> SubmitError {
        let (needed, budget) = (setup.kv.bytes(self.tokens.len()), &setup.budget);
        SubmitError::OutOfMemory { needed, used: budget.used(), budget: budget.limit() }
    }
}
