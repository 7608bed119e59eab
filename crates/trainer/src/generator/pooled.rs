//! Soups with the pools they were made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tureen_soup::adapter::{Precision, write};
use tureen_soup::publish::{Entry, add_policy};
use tureen_soup::{BaseIdentity, MergeOptions, Pool, PoolOptions, Preference, Soup};

use crate::error::TrainError;
use crate::model::LoraAdapter;

/// A soup and the pool it was made from.
#[derive(Clone, Debug)]
pub struct PooledSoup {
    pub(super) pool: Arc<Pool>,
    pub(super) soup: Arc<Soup>,
}

impl PooledSoup {
    /// The soup of `preference` under `options`.
    ///
    /// # Errors
    /// Policies that the pool does not have.
    pub fn new(pool: &Arc<Pool>, preference: &Preference, options: &MergeOptions) -> Result<Self, TrainError> {
        let soup = pool.soup(preference, options).map_err(|error| TrainError::Invalid(error.to_string()))?;
        Ok(Self { pool: pool.clone(), soup: Arc::new(soup) })
    }

    /// Names the parameters that answer: the same for every way to write the same mixture.
    pub fn id(&self) -> String {
        self.soup.id().to_string()
    }

    /// The base alone.
    pub(super) fn base(pool: Arc<Pool>) -> Result<Self, TrainError> {
        Self::new(&pool, &Preference::default(), &MergeOptions::default())
    }
}

/// The policy's name in its pool.
const POLICY: &str = "policy";

/// A pool of one policy that is written anew whenever the policy has changed.
pub struct FreshPool {
    dir: PathBuf,
    base: BaseIdentity,
}

impl FreshPool {
    /// A pool in the folder `dir` for policies of `base`.
    pub fn new(dir: &Path, base: BaseIdentity) -> Self {
        Self { dir: dir.to_owned(), base }
    }

    /// Writes `adapter` in f32 and returns it as a soup, its update times `strength` (0 to 4).
    ///
    /// # Errors
    /// Factors that are not finite, or files that cannot be written.
    pub fn soup(&self, adapter: &LoraAdapter, strength: f64) -> Result<PooledSoup, TrainError> {
        let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(error.to_string());
        let (peft, pool) = (self.dir.join("peft"), self.dir.join("pool"));
        std::fs::create_dir_all(&peft).map_err(TrainError::io(&peft))?;
        write(&adapter.export(BTreeMap::new())?, &peft, Precision::F32, &self.base.name).map_err(|e| invalid(&e))?;
        let entry = Entry {
            id: POLICY.into(),
            code: "P0".into(),
            dimension: "run".into(),
            instruction: "As the run stands.".into(),
            license: "none".into(),
        };
        add_policy(&pool, &self.base, &entry, &peft).map_err(|error| invalid(&error))?;
        let pool = Arc::new(Pool::open(&pool, &PoolOptions::default()).map_err(|error| invalid(&error))?);
        let only = Preference::from_pairs([(POLICY.to_owned(), 1.0)]).map_err(|error| invalid(&error))?;
        PooledSoup::new(&pool, &only, &MergeOptions { strength, ..MergeOptions::default() })
    }
}
