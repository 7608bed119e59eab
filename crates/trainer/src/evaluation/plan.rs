//! Who has to answer, for each study.

use std::path::Path;
use std::sync::Arc;

use tureen_soup::{BaseFacts, MergeOptions, Pool, PoolOptions, Preference};

use super::answers::Speaker;
use super::config::{EvaluationConfig, MethodOptions};
use super::curves::WEIGHTS;
use super::poles::Pole;
use crate::error::TrainError;
use crate::generator::{Generator, PooledSoup};

/// The studies, as their progress is told.
const SCORES: &str = "scores";
pub(super) const ALONE: &str = "alone";
pub(super) const PAIRWISE: &str = "pairwise";
const CONTROL: &str = "control";
const CONFLICT: &str = "conflict";

/// Who answers for a method, under each combination.
pub(super) struct Method {
    pub(super) name: String,
    pub(super) speakers: Vec<Speaker>,
}

/// Two policies, as indices of the pool's, in the shares of [`WEIGHTS`].
pub(super) struct Mixture {
    pub(super) policies: [usize; 2],
    pub(super) speakers: Vec<Speaker>,
}

/// Everyone who answers.
pub(super) struct Plan {
    pub(super) base: Speaker,
    /// One for each policy of the pool, in its order.
    pub(super) alone: Vec<Speaker>,
    pub(super) methods: Vec<Method>,
    /// Policies of different dimensions, mixed.
    pub(super) control: Vec<Mixture>,
    /// Opposite poles, mixed.
    pub(super) conflict: Vec<Mixture>,
}

impl Plan {
    /// The speakers of the methods and studies of `config` over `pool`, for the base of `generator`.
    ///
    /// # Errors
    /// The pool of a method that cannot be opened, is for another base, or lacks its policy.
    pub(super) fn new(
        config: &EvaluationConfig,
        pool: &Arc<Pool>,
        poles: &[Pole],
        combinations: &[Vec<usize>],
        generator: &Generator,
    ) -> Result<Self, TrainError> {
        let base = plain(generator.base()?);
        let table = Table { facts: &generator.checkpoint().base_facts(), pool, poles, base: &base };
        let mut planned = Vec::with_capacity(config.methods.len());
        for (name, options) in &config.methods {
            planned.push(Method { name: name.clone(), speakers: table.method(options, combinations)? });
        }
        let mut alone = Vec::with_capacity(poles.len());
        let (mut control, mut conflict) = (Vec::new(), Vec::new());
        let mixes = |pole: &usize| config.mixes(&poles[*pole].id);
        for first in 0..poles.len() {
            alone.push(table.soup(&[(first, 1.0)], 1.0)?);
            for second in (first + 1..poles.len()).filter(|&second| [first, second].iter().all(mixes)) {
                let mixed = |weight| table.soup(&[(first, weight), (second, 1.0 - weight)], 1.0);
                let speakers = WEIGHTS.into_iter().map(mixed).collect::<Result<_, _>>()?;
                let dimension = |pole: usize| pool.policies()[pole].dimension();
                let study = if dimension(first) == dimension(second) { &mut conflict } else { &mut control };
                study.push(Mixture { policies: [first, second], speakers });
            }
        }
        Ok(Self { methods: planned, alone, control, conflict, base })
    }

    /// The studies with all their speakers, in the order that they are answered in.
    pub(super) fn studies(&self) -> [(&'static str, Vec<&Speaker>); 4] {
        let Self { base, alone, methods, control, conflict } = self;
        [
            (SCORES, methods.iter().flat_map(|method| &method.speakers).collect()),
            (ALONE, std::iter::once(base).chain(alone).collect()),
            (CONTROL, control.iter().flat_map(|mixture| &mixture.speakers).collect()),
            (CONFLICT, conflict.iter().flat_map(|mixture| &mixture.speakers).collect()),
        ]
    }
}

/// What speakers are made from.
struct Table<'a> {
    facts: &'a BaseFacts,
    pool: &'a Arc<Pool>,
    poles: &'a [Pole],
    base: &'a Speaker,
}

impl Table<'_> {
    fn soup(&self, shares: &[(usize, f64)], strength: f64) -> Result<Speaker, TrainError> {
        let shares = shares.iter().map(|&(pole, weight)| (self.poles[pole].id.clone(), weight));
        Ok(plain(soup(self.pool, shares, strength)?))
    }

    /// Who answers for a method, under each combination.
    fn method(&self, method: &MethodOptions, combinations: &[Vec<usize>]) -> Result<Vec<Speaker>, TrainError> {
        let (speaker, prompted) = match method {
            MethodOptions::Base => (self.base.clone(), false),
            MethodOptions::Prompting => (self.base.clone(), true),
            MethodOptions::Policy { pool, policy, prompted } => {
                let pool = open(pool)?;
                pool.check_base(self.facts).map_err(|error| TrainError::Invalid(error.to_string()))?;
                (plain(soup(&pool, [(policy.clone(), 1.0)], 1.0)?), *prompted)
            }
            MethodOptions::Soup { strength } => {
                let shares = |combination: &Vec<usize>| combination.iter().map(|&pole| (pole, 1.0)).collect::<Vec<_>>();
                return combinations.iter().map(|combination| self.soup(&shares(combination), *strength)).collect();
            }
        };
        let told = |combination: &Vec<usize>| {
            let instructions = combination.iter().map(|&pole| self.poles[pole].instruction.clone());
            Speaker { instructions: instructions.filter(|_| prompted).collect(), ..speaker.clone() }
        };
        Ok(combinations.iter().map(told).collect())
    }
}

fn plain(soup: PooledSoup) -> Speaker {
    Speaker { soup, instructions: Vec::new() }
}

fn soup(
    pool: &Arc<Pool>,
    shares: impl IntoIterator<Item = (String, f64)>,
    strength: f64,
) -> Result<PooledSoup, TrainError> {
    let preference = Preference::from_pairs(shares).map_err(|error| TrainError::Invalid(error.to_string()))?;
    PooledSoup::new(pool, &preference, &MergeOptions { strength, ..MergeOptions::default() })
}

/// Opens the pool in the folder `dir`.
///
/// # Errors
/// A pool that cannot be used.
pub(super) fn open(dir: &Path) -> Result<Arc<Pool>, TrainError> {
    let opened = Pool::open(dir, &PoolOptions::default()).map_err(|error| TrainError::Invalid(error.to_string()))?;
    Ok(Arc::new(opened))
}
