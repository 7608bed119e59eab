//! How a soup is served: by the gate, or from merged weights, and whether it fits.

use std::sync::{Arc, PoisonError, Weak};

use tureen_soup::{Pool, Soup};

use super::Inner;
use crate::error::SubmitError;
use crate::event::{PathChoice, SoupPath};
use crate::model::{Gates, Mix};
use crate::scheduler::{Merged, Served};
use crate::soups::SoupCell;

impl Inner {
    pub(super) fn check_tokens(&self, tokens: &[u32]) -> Result<(), SubmitError> {
        let vocabulary = self.model.config().vocab_size;
        match tokens.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(SubmitError::UnknownToken { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    pub(super) fn out_of_memory(&self, needed: u64) -> SubmitError {
        SubmitError::OutOfMemory { needed, used: self.budget.used(), budget: self.budget.limit() }
    }

    /// Chooses the path for a sequence of `positions`. A soup that is asked for often is merged in the background and
    /// served by the gate meanwhile.
    pub(super) fn serve(
        &self,
        pool: &Arc<Pool>,
        soup: &Arc<Soup>,
        choice: PathChoice,
        positions: usize,
    ) -> Result<(SoupPath, Served), SubmitError> {
        let pages = self.fits(self.kv.bytes(positions))?;
        if soup.is_base() {
            return Ok((SoupPath::Gate, Served::Gate(None)));
        }
        let wanted = choice != PathChoice::Materialised && pool.supports_gate(soup);
        let gates = wanted.then(|| self.gates(pool)).transpose().map_err(SubmitError::DeviceFailed)?;
        let gates = gates.filter(|gates| gates.serves(soup));
        let hot = || (choice == PathChoice::Auto).then(|| self.hot(pool, soup)).flatten();
        let cell = match gates.zip(Mix::of(soup)) {
            Some((gates, mix)) => match hot().filter(|cell| self.fits(pages + cell.bytes()).is_ok()) {
                Some(cell) => Some(cell),
                None => return Ok((SoupPath::Gate, Served::Gate(Some((gates, mix))))),
            },
            None => {
                self.fits(pages + self.soups.bytes(pool, soup))?;
                // Without room now, the scheduler begins the merge when its turn comes.
                self.soups.get(pool, soup).ok()
            }
        };
        let merged = Merged { pool: pool.clone(), soup: soup.clone(), cell };
        Ok((SoupPath::Materialised, Served::Materialised(merged)))
    }

    /// Refuses what would not fit if it were alone.
    pub(super) fn fits(&self, bytes: u64) -> Result<u64, SubmitError> {
        if bytes <= self.budget.room() { Ok(bytes) } else { Err(self.out_of_memory(bytes)) }
    }

    /// The merged soup, when it is hot and ready.
    fn hot(&self, pool: &Arc<Pool>, soup: &Arc<Soup>) -> Option<Arc<SoupCell>> {
        if let Some(cell) = self.soups.ready(soup.id()) {
            return Some(cell);
        }
        let threshold = self.options.promote_after;
        if threshold > 0 && self.heat.count(soup.id()) >= threshold {
            // Without room the gate goes on serving it.
            let _ = self.soups.get(pool, soup);
        }
        None
    }

    /// The stacked policies of a revision; built again when the last user of an old one was gone. The error is a device's.
    pub(super) fn gates(&self, pool: &Arc<Pool>) -> Result<Arc<Gates>, String> {
        let mut known = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gates) = known.get(pool.revision()).and_then(Weak::upgrade) {
            return Ok(gates);
        }
        known.retain(|_, gates| gates.strong_count() > 0);
        let gates = Arc::new(Gates::new(pool, self.model.layout()).map_err(|e| e.to_string())?);
        known.insert(*pool.revision(), Arc::downgrade(&gates));
        Ok(gates)
    }
}
