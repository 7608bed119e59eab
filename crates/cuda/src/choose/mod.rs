//! The token after each row of logits, chosen where the logits are.
//!
//! ```text
//! value  = logit + bias, divided by or multiplied with the penalty if the token was seen
//! weight = exp((value - largest) / temperature)       tokens in order: likeliest first, equal ones by id
//! top_k the first so many; top_p the first whose weights reach that share; min_p those that weigh so much
//! draw   the first token with which the weights, in this order, exceed that share; without limits by id
//! ```
//!
//! Weights are added up as whole numbers in units of 2^-44, so that no sum depends on its order: the kernel and its twin choose
//! the same token from the same logits.

mod orders;
mod twin;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use half::bf16;

use crate::values::values;
pub use orders::{Change, Choices, Draw, Rule, Uploaded};
pub(crate) use orders::{NONE, WORDS};

/// Tokens that a vocabulary may have: the weights of more would not fit 64 bits.
pub const VOCABULARY: usize = 1 << 19;
/// Weights are summed up in units of 2^-44.
const UNITS: f64 = (1_u64 << 44) as f64;

/// What was chosen after a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The token; `None` where a logit is not a finite number.
    pub id: Option<u32>,
    /// Natural logarithm of its probability by the logits as they are, before whatever changes them.
    pub logprob: f32,
}

/// Chooses a token for each row of `logits` (rows, vocabulary), f32 or bf16, by the rules in their order. Sixteen bytes of each
/// row come back, and this waits for them.
///
/// # Errors
/// When there are not as many rules as rows, a rule names a token that the vocabulary does not have, it has more than
/// [`VOCABULARY`], and when the GPU fails.
pub fn choose(logits: &Tensor, by: &Uploaded) -> Result<Vec<Chosen>> {
    let (_, vocabulary) = logits.dims2()?;
    if vocabulary > VOCABULARY || (by.ids as usize) > vocabulary {
        bail!("tokens up to {} are chosen from {vocabulary}, of which {VOCABULARY} are possible", by.ids);
    }
    let words = logits.apply_op3_no_bwd(&by.orders, &by.changes, &Choose { copies: by.copies })?;
    let words = words.flatten_all()?.to_vec1::<u32>()?;
    Ok(words.as_chunks::<4>().0.iter().map(read).collect())
}

fn read([id, below, low, high]: &[u32; 4]) -> Chosen {
    if *id == NONE {
        return Chosen { id: None, logprob: f32::NAN };
    }
    let total = u64::from(*high) << 32 | u64::from(*low);
    let logprob = f64::from(f32::from_bits(*below)) - (total as f64 / UNITS).ln();
    Chosen { id: Some(*id), logprob: logprob as f32 }
}

pub(crate) struct Choose {
    /// Rows with changes.
    pub(crate) copies: usize,
}

/// Rows and vocabulary.
pub(crate) fn sizes(logits: &Layout, orders: &Layout, changes: &Layout) -> Result<(usize, usize)> {
    match (logits.dims(), orders.dims(), changes.dims()) {
        (&[rows, vocabulary], &[ordered, WORDS], &[_, 2]) if rows == ordered && vocabulary > 0 => {
            Ok((rows, vocabulary))
        }
        _ => bail!("{:?} are chosen from {:?}", orders.dims(), logits.dims()),
    }
}

impl CustomOp3 for Choose {
    fn name(&self) -> &'static str {
        "soup_choose"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        orders: &CpuStorage,
        orders_layout: &Layout,
        changes: &CpuStorage,
        changes_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, vocabulary) = sizes(logits_layout, orders_layout, changes_layout)?;
        let by = [values::<u32>(orders, orders_layout)?, values::<u32>(changes, changes_layout)?];
        let chosen = match logits {
            CpuStorage::F32(_) => twin::choose(values::<f32>(logits, logits_layout)?, vocabulary, by, self.copies),
            CpuStorage::BF16(_) => twin::choose(values::<bf16>(logits, logits_layout)?, vocabulary, by, self.copies),
            _ => bail!("logits of neither f32 nor bf16"),
        };
        Ok((CpuStorage::U32(chosen), Shape::from((rows, 4))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        logits: &CudaStorage,
        logits_layout: &Layout,
        orders: &CudaStorage,
        orders_layout: &Layout,
        changes: &CudaStorage,
        changes_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::cuda::choose(self, (logits, logits_layout), (orders, orders_layout), (changes, changes_layout))
    }
}
