//! What the kernel is told of each row.

use candle_core::{Device, Result, Tensor};

/// Words of a row, as kernels/choose.cu lays them out.
pub(crate) const WORDS: usize = 13;
/// No token.
pub(crate) const NONE: u32 = u32::MAX;
/// What to do with a row.
pub(super) const LIKELIEST: u32 = 0;
pub(super) const GIVEN: u32 = 1;
const DRAWN: u32 = 2;

/// How the token after a row is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The likeliest, after changes; the first of equal ones.
    Likeliest,
    /// This one, for its log-probability.
    Given(u32),
    /// A draw, after changes.
    Drawn(Draw),
}

/// A draw from the likely tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Divides the logits; above 0.
    pub temperature: f32,
    /// How many of the likeliest tokens are kept, at least 1; `None` for all.
    pub top_k: Option<u32>,
    /// The share of all weights that those reach which are kept; 1 keeps all.
    pub top_p: f32,
    /// The least share of the likeliest token's weight that is kept; 0 keeps all.
    pub min_p: f32,
    /// Whether tokens stand in the order of their weights even where nothing limits them.
    pub sorted: bool,
    /// Where the draw falls, from 0 to below 1, in units of 2^-53.
    pub at: f64,
}

/// What happens to a token's logit before the choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The token.
    pub id: u32,
    /// Added first.
    pub bias: f32,
    /// Whether the penalty follows: it divides what is positive and multiplies the rest.
    pub seen: bool,
}

/// Rules of some rows, in their order. Its buffers are kept from step to step.
#[derive(Debug, Default, Clone)]
pub struct Choices {
    orders: Vec<u32>,
    changes: Vec<u32>,
    /// Rows with changes.
    copies: u32,
    /// One more than the largest id of a token that is named.
    ids: u32,
}

/// Rules where the logits are.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// (rows, [`WORDS`]) u32.
    pub(super) orders: Tensor,
    /// (changes, 2) u32.
    pub(super) changes: Tensor,
    pub(super) copies: usize,
    pub(super) ids: u32,
}

impl Choices {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.orders.clear();
        self.changes.clear();
        (self.copies, self.ids) = (0, 0);
    }

    /// How many rows have a rule.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len() / WORDS
    }

    /// Whether no row has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// All that is uploaded, as kernels/choose.cu reads it: thirteen words a row, and two for each change.
    #[must_use]
    pub fn tables(&self) -> [&[u32]; 2] {
        [&self.orders, &self.changes]
    }

    /// Adds a row's rule, with the changes of its logits, none of which is named twice, and the penalty for those seen.
    pub fn push(&mut self, rule: &Rule, penalty: f32, changes: impl IntoIterator<Item = Change>) {
        let first = self.changes.len() / 2;
        for Change { id, bias, seen } in changes {
            self.changes.extend([2 * id + u32::from(seen), bias.to_bits()]);
            self.ids = self.ids.max(id + 1);
        }
        let end = self.changes.len() / 2;
        let place = self.copies;
        self.copies += u32::from(end > first);
        let mut orders = [0; WORDS];
        match rule {
            Rule::Likeliest => orders[..2].copy_from_slice(&[LIKELIEST, place]),
            Rule::Given(id) => {
                orders[..2].copy_from_slice(&[GIVEN, *id]);
                self.ids = self.ids.max(id + 1);
            }
            Rule::Drawn(draw) => {
                orders[..2].copy_from_slice(&[DRAWN, place]);
                draw.write(&mut orders);
            }
        }
        orders[6..9].copy_from_slice(&[penalty.to_bits(), first as u32, end as u32]);
        self.orders.extend(orders);
    }

    /// Copies them to where the logits are.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn upload(&self, device: &Device) -> Result<Uploaded> {
        let table = |words: &[u32], width: usize| match words.is_empty() {
            // No table is empty: a GPU's memory has no such piece.
            true => Tensor::zeros((1, width), candle_core::DType::U32, device),
            false => Tensor::from_slice(words, (words.len() / width, width), device),
        };
        let (orders, changes) = (table(&self.orders, WORDS)?, table(&self.changes, 2)?);
        Ok(Uploaded { orders, changes, copies: self.copies as usize, ids: self.ids })
    }
}

impl Draw {
    fn write(&self, orders: &mut [u32; WORDS]) {
        let words = |part: u64| [part as u32, (part >> 32) as u32];
        orders[2] = (1.0 / self.temperature).to_bits();
        orders[3] = u32::from(self.sorted || self.top_k.is_some() || self.top_p < 1.0 || self.min_p > 0.0);
        orders[4] = self.top_k.unwrap_or(0);
        orders[5] = self.min_p.max(0.0).to_bits();
        // In units of 2^-64, exactly: both have fewer bits. The smallest share is not none.
        let share = if self.top_p < 1.0 { ((f64::from(self.top_p) * 2_f64.powi(64)) as u64).max(1) } else { 0 };
        orders[9..11].copy_from_slice(&words(share));
        orders[11..13].copy_from_slice(&words((self.at * 2_f64.powi(64)) as u64));
    }
}
