//! The policies of a pool, and who judges answers for them: nobody who taught those who answer.

use tureen_soup::Pool;

use super::config::{EvaluationConfig, MethodOptions};
use super::trained::{Facts, metadata};
use crate::annotate::AnnotatorOptions;
use crate::error::TrainError;
use crate::reward::MeasureOptions;

/// A policy of the pool, and how answers are held against its preference.
pub(super) struct Pole {
    pub(super) id: String,
    pub(super) instruction: String,
    pub(super) score: MeasureOptions,
    pub(super) judge: AnnotatorOptions,
}

impl Pole {
    /// Fails if the judge is among those that `policy` was trained by.
    fn refuse(&self, policy: &str, trainers: &[String]) -> Result<(), TrainError> {
        let judge = self.judge.name();
        if !trainers.contains(&judge) {
            return Ok(());
        }
        let whose = if policy == self.id { "it".to_owned() } else { format!("it for {}", self.id) };
        Err(TrainError::Invalid(format!("{policy} was trained by the {judge} that would judge {whose}")))
    }
}

/// The poles of `pool`, in its order; `facts` is what its files tell.
///
/// # Errors
/// A policy that nothing is known of, or a judge that trained one of the pool's policies that it would judge, or a method's.
pub(super) fn poles(config: &EvaluationConfig, pool: &Pool, facts: &Facts) -> Result<Vec<Pole>, TrainError> {
    let mut poles = Vec::new();
    for policy in pool.policies() {
        let (id, instruction) = (policy.id().to_string(), policy.instruction().to_owned());
        let pole = Pole { score: config.score_of(&id)?, judge: config.judge_of(&id)?, instruction, id };
        pole.refuse(&pole.id, &trainers(config, facts, &pole.id, &format!("rule {}", pole.id)))?;
        poles.push(pole);
    }
    for method in config.methods.values() {
        if let MethodOptions::Policy { pool, policy, prompted: _ } = method {
            let trainers = trainers(config, &metadata(pool)?, policy, "");
            poles.iter().try_for_each(|pole| pole.refuse(policy, &trainers))?;
        }
    }
    Ok(poles)
}

/// What trained the policy `id`: what its file says, else `usual`, and what the configuration adds.
fn trainers(config: &EvaluationConfig, facts: &Facts, id: &str, usual: &str) -> Vec<String> {
    let told = facts.get(id).and_then(|facts| facts.get("tureen.trained_by")).map_or(usual, String::as_str);
    let added = config.trained_by.get(id).into_iter().flatten().cloned();
    told.split(", ").map(str::to_owned).chain(added).collect()
}
