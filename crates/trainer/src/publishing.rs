//! From a trained adapter to a policy of a pool.

use std::collections::BTreeMap;
use std::path::Path;

use tureen_soup::BaseFacts;
use tureen_soup::adapter::{Precision, write};
use tureen_soup::publish::{Entry, add_policy};

use crate::config::{PolicyConfig, RewardOptions};
use crate::error::TrainError;
use crate::model::LoraAdapter;
use crate::reward::PartOptions;

/// Writes `adapter` in bf16 to `work` in PEFT's layout and enters it into `pool`.
///
/// # Errors
/// Files that cannot be written, or a pool that refuses the policy.
pub(crate) fn enter(
    adapter: &LoraAdapter,
    metadata: BTreeMap<String, String>,
    policy: &PolicyConfig,
    base: &BaseFacts,
    work: &Path,
    pool: &Path,
) -> Result<(), TrainError> {
    let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(error.to_string());
    let peft = work.join("peft");
    std::fs::create_dir_all(&peft).map_err(TrainError::io(&peft))?;
    write(&adapter.export(metadata)?, &peft, Precision::Bf16, &base.name).map_err(|error| invalid(&error))?;
    let entry = Entry {
        id: policy.id.clone(),
        code: policy.code.clone(),
        dimension: policy.dimension.clone(),
        instruction: policy.instruction.clone(),
        license: policy.license.clone(),
    };
    add_policy(pool, &base.identity(), &entry, &peft).map_err(|error| invalid(&error))?;
    Ok(())
}

/// What an adapter's file says of its making: the base's hash, the initial A factors, and `more`.
pub(crate) fn metadata(
    adapter: &LoraAdapter,
    base: &BaseFacts,
    more: impl IntoIterator<Item = (&'static str, String)>,
) -> BTreeMap<String, String> {
    let (seed, sha256) = adapter.initialisation();
    let entries = [
        ("tureen.base_sha256", base.sha256.clone()),
        ("tureen.a_init", "kaiming uniform (a = sqrt 5), ChaCha8, one stream per module".into()),
        ("tureen.a_seed", seed.to_string()),
        ("tureen.a_sha256", sha256.to_owned()),
    ];
    entries.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What judged the answers of a training, by the names that `evaluate` knows: a judge of the training must not be the one
/// of the evaluation.
pub(crate) fn trained_by(reward: &RewardOptions) -> String {
    let rule = reward.rule.map(|rule| format!("rule {}", rule.name()));
    let models = reward.parts.iter().filter_map(|part| match part {
        PartOptions::Model { .. } => Some("reward model".to_owned()),
        PartOptions::Gate { .. } | PartOptions::Length { .. } | PartOptions::NoEos { .. } => None,
    });
    rule.into_iter().chain(models).collect::<Vec<_>>().join(", ")
}
