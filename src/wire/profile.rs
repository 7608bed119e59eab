//! Profiles on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use tureen_engine::Message;
use tureen_soup::learn::Taste;
use tureen_soup::{MergeOptions, Method, Preference, PreferencePatch, Renormalize};
use utoipa::ToSchema;

use super::merge::{MergeOptionsSchema, PreferenceSchema};
use super::review::ReviewView;
use crate::config::Limits;
use crate::extract::Validate;
use crate::problem::ApiError;
use crate::store::{Draft, KeptAnswer, KeptPair, Pair, Profile, UserId, Words};

/// A profile as it is to be. Unknown fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"preference": {"concise": 0.6, "friendly": 0.4}}))]
pub struct PutProfile {
    /// What the user wishes; `{}` is the base.
    #[schema(value_type = PreferenceSchema)]
    preference: Preference,
    /// How policies are mixed for the user.
    #[schema(value_type = Option<MergeOptionsSchema>)]
    merge: Option<MergeOptions>,
}

impl Validate for PutProfile {
    type Valid = Draft;

    fn validate(self, _: &Limits) -> Result<Draft, ApiError> {
        Ok(Draft { preference: self.preference, merge: self.merge.unwrap_or_default(), learned: None })
    }
}

/// A merge patch (RFC 7396) of a profile: what is not named stays, `null` takes out or goes back to the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"preference": {"concise": 0.8, "friendly": null}}))]
pub struct PatchProfile {
    /// Weights to set, or `null` to take a policy out.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Option<f64>>>)]
    preference: Option<Option<PreferencePatch>>,
    /// Options to set.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<MergeOptionsSchema>)]
    merge: Option<Option<MergePatch>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MergePatch {
    #[serde(deserialize_with = "named")]
    method: Option<Option<Method>>,
    #[serde(deserialize_with = "named")]
    normalize: Option<Option<bool>>,
    #[serde(deserialize_with = "named")]
    strength: Option<Option<f64>>,
    #[serde(deserialize_with = "named")]
    renormalize: Option<Option<Renormalize>>,
    #[serde(deserialize_with = "named")]
    density: Option<Option<f64>>,
    #[serde(deserialize_with = "named")]
    seed: Option<Option<u64>>,
}

/// Tells a field that is `null` from one that is not there.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Validate for PatchProfile {
    type Valid = Self;

    fn validate(self, _: &Limits) -> Result<Self, ApiError> {
        Ok(self)
    }
}

impl PatchProfile {
    /// `current` after this patch.
    ///
    /// # Errors
    /// 422 when the preference would be none.
    pub fn apply(&self, current: &Draft) -> Result<Draft, ApiError> {
        let preference = match &self.preference {
            None => current.preference.clone(),
            Some(None) => Preference::default(),
            Some(Some(patch)) => {
                let refused =
                    |e: tureen_soup::PreferenceError| ApiError::invalid(e.code(), "preference", e.to_string());
                current.preference.patched(patch).map_err(refused)?
            }
        };
        let merge = match &self.merge {
            None => current.merge.clone(),
            Some(None) => MergeOptions::default(),
            Some(Some(patch)) => patch.apply(&current.merge),
        };
        // What was learned stands as long as the preference that it led to.
        let learned = current.learned.clone().filter(|_| preference == current.preference);
        Ok(Draft { preference, merge, learned })
    }
}

impl MergePatch {
    fn apply(&self, current: &MergeOptions) -> MergeOptions {
        fn pick<T: Copy>(patch: Option<Option<T>>, current: T, default: T) -> T {
            patch.map_or(current, |named| named.unwrap_or(default))
        }
        // Without `..`: a new option cannot be forgotten here.
        let MergeOptions { method, normalize, strength, renormalize, density, seed } = MergeOptions::default();
        MergeOptions {
            method: pick(self.method, current.method, method),
            normalize: pick(self.normalize, current.normalize, normalize),
            strength: pick(self.strength, current.strength, strength),
            renormalize: pick(self.renormalize, current.renormalize, renormalize),
            density: pick(self.density, current.density, density),
            seed: pick(self.seed, current.seed, seed),
        }
    }
}

/// A stored profile.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileView {
    /// The user.
    pub user: String,
    /// What the user wishes.
    #[schema(value_type = PreferenceSchema)]
    pub preference: Preference,
    /// How policies are mixed for the user.
    #[schema(value_type = MergeOptionsSchema)]
    pub merge: MergeOptions,
    /// What the user's choices told; the preference is what they let expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedView>,
    /// Names this state of the profile; also in the header `ETag`, in quotes.
    pub etag: String,
    /// Unix time of its creation, in milliseconds.
    pub created_at_ms: i64,
    /// Unix time of its last change, in milliseconds.
    pub updated_at_ms: i64,
}

impl ProfileView {
    /// Shows the profile of `user`.
    pub fn new(user: &UserId, profile: &Profile) -> Self {
        let Profile { draft, etag, created_at, updated_at } = profile.clone();
        Self {
            user: user.as_str().to_owned(),
            preference: draft.preference,
            merge: draft.merge,
            learned: draft.learned.as_ref().map(LearnedView::new),
            etag,
            created_at_ms: created_at,
            updated_at_ms: updated_at,
        }
    }
}

/// What a user's choices told.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedView {
    /// Choices, ratings and edits learned from.
    pub choices: u64,
    /// Standard deviation of each policy's weight: how sure it is.
    pub deviations: BTreeMap<String, f64>,
}

impl LearnedView {
    /// Shows `taste`.
    pub fn new(taste: &Taste) -> Self {
        let deviations = taste.policies().iter().cloned().zip(taste.belief().deviations()).collect();
        Self { choices: taste.choices(), deviations }
    }
}

/// One page of users.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserPage {
    /// Ordered by name.
    pub users: Vec<UserView>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A user with a profile.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    /// The user.
    pub user: String,
    /// Unix time of the profile's last change, in milliseconds.
    pub updated_at_ms: i64,
}

/// Everything that is kept about a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserExport {
    /// The user.
    pub user: String,
    /// The profile, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileView>,
    /// Preference pairs that feedback left, the oldest first.
    pub pairs: Vec<PairView>,
    /// Answers of the last hour to requests that named the user, where the store keeps them.
    pub answers: Vec<AnswerView>,
    /// Prompts and answers that were held for a person.
    pub reviews: Vec<ReviewView>,
}

/// An answer that feedback may still name.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerView {
    /// The request that it answered.
    pub request_id: String,
    /// The turns before it.
    pub prompt: Vec<TurnView>,
    /// The answer.
    pub answer: String,
    /// Unix time of its end, in milliseconds.
    pub created_at_ms: i64,
}

impl From<KeptAnswer> for AnswerView {
    fn from(kept: KeptAnswer) -> Self {
        let KeptAnswer { request, words: Words { prompt, answer }, created_at } = kept;
        Self { request_id: request, prompt: TurnView::all(prompt), answer, created_at_ms: created_at }
    }
}

/// A preference pair: two answers to one prompt.
#[derive(Debug, Serialize, ToSchema)]
pub struct PairView {
    /// The turns before the answer.
    pub prompt: Vec<TurnView>,
    /// The preferred answer.
    pub chosen: String,
    /// The other one.
    pub rejected: String,
    /// Unix time at which it was left, in milliseconds.
    pub created_at_ms: i64,
}

impl From<KeptPair> for PairView {
    fn from(kept: KeptPair) -> Self {
        let KeptPair { id: _, pair: Pair { prompt, chosen, rejected }, created_at } = kept;
        Self { prompt: TurnView::all(prompt), chosen, rejected, created_at_ms: created_at }
    }
}

/// One turn of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnView {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl TurnView {
    fn all(turns: Vec<Message>) -> Vec<Self> {
        turns.into_iter().map(|Message { role, content }| Self { role, content }).collect()
    }
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserErased {
    /// Profiles: 0 or 1.
    pub profiles: u64,
    /// Changes that were remembered by their Idempotency-Key.
    pub changes: u64,
    /// Preference pairs that feedback left.
    pub pairs: u64,
    /// Answers of the last hour to requests that named the user.
    pub answers: u64,
    /// Prompts and answers that had been held for a person.
    pub reviews: u64,
}
