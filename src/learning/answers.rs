//! Answers of the last hour, so that feedback can name them.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

/// How long an answer can be named.
const KEPT: Duration = Duration::from_hours(1);

/// What an entry takes besides its tokens.
const OVERHEAD: usize = 256;

/// An answer and what it answers.
#[derive(Debug)]
pub struct Said {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens of the answer.
    pub answer: Vec<u32>,
}

/// Answers by owner and request id, as many as there is room for. In memory alone.
pub struct Recent(Cache<(Arc<str>, Arc<str>), Arc<Said>>);

impl Recent {
    /// Room for `bytes`.
    pub fn new(bytes: u64) -> Self {
        let weight = |_: &(Arc<str>, Arc<str>), said: &Arc<Said>| {
            let bytes = OVERHEAD + 4 * (said.prompt.len() + said.answer.len());
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weight).time_to_live(KEPT).build())
    }

    /// Keeps an answer to a request of `owner`.
    fn keep(&self, owner: Arc<str>, request: Arc<str>, said: Said) {
        self.0.insert((owner, request), Arc::new(said));
    }

    /// The answer to request `id`, if `owner` asked.
    pub fn find(&self, owner: &Arc<str>, id: &str) -> Option<Arc<Said>> {
        self.0.get(&(owner.clone(), id.into()))
    }
}

/// An answer that is being made and will be kept.
pub struct Keeping {
    recent: Arc<Recent>,
    owner: Arc<str>,
    request: Arc<str>,
    said: Said,
}

impl Keeping {
    /// Will keep the answer to `prompt`, which request `id` of `owner` asked for.
    pub fn new(recent: Arc<Recent>, owner: Arc<str>, id: &str, prompt: Vec<u32>) -> Self {
        Self { recent, owner, request: id.into(), said: Said { prompt, answer: Vec::new() } }
    }

    /// A token came.
    pub fn token(&mut self, id: u32) {
        self.said.answer.push(id);
    }

    /// It is whole.
    pub fn finish(self) {
        if !self.said.answer.is_empty() {
            self.recent.keep(self.owner, self.request, self.said);
        }
    }
}
