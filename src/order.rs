//! A validated request for text, whichever route it came by.

use tureen_engine::Message;
use tureen_soup::{MergeOptions, Preference};

use crate::store::UserId;

/// What to generate, checked as far as that is possible without the pool and the model.
#[derive(Debug, Clone)]
pub struct Order {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// For what preference.
    pub wish: Wish,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Whether to tell which policy wanted the answer.
    pub explain: bool,
}

/// A preference, or where to find it.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Named in the request.
    Inline {
        /// The weights; empty is the base.
        preference: Preference,
        /// How to mix.
        merge: MergeOptions,
    },
    /// In the profile of this user.
    Profile {
        /// The user.
        user: UserId,
        /// How to mix, instead of the way in the profile.
        merge: Option<MergeOptions>,
    },
}

/// Sampling parameters within the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// `None`: the default, cut to what the context still holds.
    pub max_new_tokens: Option<usize>,
    /// 0 is greedy.
    pub temperature: f32,
    /// 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    /// `None`: a fresh one.
    pub seed: Option<u64>,
    /// Sequences that end the answer.
    pub stop: Vec<String>,
    /// Go on after the end-of-sequence token.
    pub ignore_eos: bool,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: None,
            stop: Vec::new(),
            ignore_eos: false,
            logit_bias: Vec::new(),
        }
    }
}
