//! A soup as one adapter that PEFT loads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::factor::Factors;
use super::mean::Mean;
use super::{MergeError, require_same_revision};
use crate::adapter::{self, Adapter, AdapterError, Precision};
use crate::{LoraModule, LoraPolicy, Method, Pool, Soup};

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
    require_same_revision(pool, soup)?;
    let policies = active_loras(pool, soup)?;
    let names: BTreeSet<&String> = policies.iter().flat_map(|(lora, _)| lora.modules().keys()).collect();
    let mut products = BTreeMap::new();
    for name in names {
        let found = policies.iter().filter_map(|(lora, weight)| Some((lora.modules().get(name)?, *weight)));
        let found: Vec<_> = found.collect();
        require_one_shape(name, &found)?;
        let product = match soup.method() {
            Method::Factor => mean(soup, &found, found.len() == policies.len()),
            _ => stack(soup, &found),
        };
        products.insert(name.clone(), product);
    }
    let rank = products.values().map(|p| p.rank).max().unwrap_or(0);
    let modules = products.into_iter().map(|(name, product)| (name, product.padded(rank))).collect();
    let metadata = BTreeMap::from([
        ("tureen_soup".to_owned(), soup.id().to_string()),
        ("tureen_revision".to_owned(), soup.revision().to_string()),
        ("tureen_method".to_owned(), soup.method().to_string()),
    ]);
    Ok(PeftAdapter(Adapter { rank, alpha: rank as f64, modules, metadata }))
}

fn active_loras<'a>(pool: &'a Pool, soup: &Soup) -> Result<Vec<(&'a LoraPolicy, f64)>, MergeError> {
    let no = |why: String| Err(MergeError::NoAdapter(why));
    match soup.method() {
        Method::Exact | Method::Factor | Method::Linear => {}
        other => return no(format!("the change of {other} is not of low rank")),
    }
    if soup.is_base() {
        return no("it changes nothing".into());
    }
    let mut loras = Vec::new();
    for (index, weight) in soup.active() {
        let policy = &pool.policies()[index];
        match policy.lora() {
            Some(lora) => loras.push((lora, weight)),
            None => return no(format!("{} is a full-weight policy", policy.id())),
        }
    }
    Ok(loras)
}

fn require_one_shape(name: &str, found: &[(&LoraModule, f64)]) -> Result<(), MergeError> {
    let shape = |m: &LoraModule| vec![m.out_features, m.in_features];
    let shapes: BTreeSet<Vec<usize>> = found.iter().map(|(module, _)| shape(module)).collect();
    match &shapes.iter().collect::<Vec<_>>()[..] {
        [first, second, ..] => {
            Err(MergeError::Shape { name: name.to_owned(), shape: first.to_vec(), found: second.to_vec() })
        }
        _ => Ok(()),
    }
}

/// `B A` of one module.
struct Product {
    rank: usize,
    in_features: usize,
    out_features: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

fn stack(soup: &Soup, found: &[(&LoraModule, f64)]) -> Product {
    let rank = found.iter().map(|(module, _)| module.rank).sum();
    let (in_features, out_features) = found.first().map_or((0, 0), |(m, _)| (m.in_features, m.out_features));
    let mut b = Vec::with_capacity(out_features * rank);
    for row in 0..out_features {
        for (module, weight) in found {
            let scale = soup.strength() * weight * module.scale;
            let values = &module.b[row * module.rank..][..module.rank];
            b.extend(values.iter().map(|v| (scale * f64::from(*v)) as f32));
        }
    }
    let a = found.iter().flat_map(|(module, _)| module.a.iter().copied()).collect();
    Product { rank, in_features, out_features, a, b }
}

fn mean(soup: &Soup, found: &[(&LoraModule, f64)], by_all: bool) -> Product {
    let modules: Vec<&LoraModule> = found.iter().map(|(module, _)| *module).collect();
    let weights = found.iter().map(|(_, weight)| *weight).collect();
    let factors = Factors::mean(&modules, &Mean::new(weights, soup.options().normalize && by_all));
    let (in_features, out_features) = modules.first().map_or((0, 0), |m| (m.in_features, m.out_features));
    Product {
        rank: factors.rank,
        in_features,
        out_features,
        a: factors.a.iter().map(|v| *v as f32).collect(),
        b: factors.b.iter().map(|v| (soup.strength() * v) as f32).collect(),
    }
}

impl Product {
    /// With zeros up to `rank`. All modules of one rank need no `rank_pattern`, whose matching rules changed between
    /// versions of PEFT.
    fn padded(mut self, rank: usize) -> adapter::Factors {
        self.a.resize(rank * self.in_features, 0.0);
        let mut b = Vec::with_capacity(self.out_features * rank);
        for row in self.b.chunks_exact(self.rank) {
            b.extend_from_slice(row);
            b.resize(b.len() + rank - self.rank, 0.0);
        }
        (self.a, b, self.in_features, self.out_features)
    }
}
