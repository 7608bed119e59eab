//! A soup as one adapter that PEFT loads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::MergeError;
use super::low_rank::{LowRank, active_loras, low_rank};
use crate::adapter::{self, Adapter, AdapterError, Precision};
use crate::{Pool, Soup};

/// A soup as a standard LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftAdapter(Adapter);

impl PeftAdapter {
    /// The adapter itself.
    pub fn adapter(&self) -> &Adapter {
        &self.0
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` (f32) to the folder `dir`, which must exist.
    /// `base_name` becomes `base_model_name_or_path`.
    ///
    /// # Errors
    /// As [`adapter::write`].
    pub fn write(&self, dir: &Path, base_name: &str) -> Result<(), AdapterError> {
        adapter::write(&self.0, dir, Precision::F32, base_name)
    }
}

/// Writes `t Σ_i w_i s_i B_i A_i` as one product: `[t w_1 s_1 B_1, t w_2 s_2 B_2, ...] · [A_1; A_2; ...]`. Weights,
/// scales and strength are in B, and alpha equals the rank, so that PEFT's own scale is 1 (its ways to combine adapters
/// would take the square root of weights or one adapter's alpha for all). The rank is the sum of the ranks; a module
/// that some policies do not change is padded with zeros up to it. `factor` soups become their two means.
///
/// # Errors
/// [`MergeError::NoAdapter`] for the base, for full-weight policies and for methods whose result is not of low rank.
pub fn as_peft(pool: &Pool, soup: &Soup) -> Result<PeftAdapter, MergeError> {
    let policies = active_loras(pool, soup)?;
    let names: BTreeSet<&String> = policies.iter().flat_map(|(lora, _)| lora.modules().keys()).collect();
    let mut products = BTreeMap::new();
    for name in names {
        products.extend(low_rank(pool, soup, name)?.map(|product| (name.clone(), product)));
    }
    let rank = products.values().map(|p| p.rank).max().unwrap_or(0);
    let modules = products.into_iter().map(|(name, product)| (name, padded(product, rank))).collect();
    let metadata = BTreeMap::from([
        ("tureen_soup".to_owned(), soup.id().to_string()),
        ("tureen_revision".to_owned(), soup.revision().to_string()),
        ("tureen_method".to_owned(), soup.method().to_string()),
    ]);
    Ok(PeftAdapter(Adapter { rank, alpha: rank as f64, modules, metadata }))
}

/// With zeros up to `rank`. All modules of one rank need no `rank_pattern`, whose matching rules changed between
/// versions of PEFT.
fn padded(mut product: LowRank, rank: usize) -> adapter::Factors {
    product.a.resize(rank * product.in_features, 0.0);
    let mut b = Vec::with_capacity(product.out_features * rank);
    for row in product.b.chunks_exact(product.rank) {
        b.extend_from_slice(row);
        b.resize(b.len() + rank - product.rank, 0.0);
    }
    (product.a, b, product.in_features, product.out_features)
}
