//! Answers of the last hour, so that feedback can name them.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tureen_engine::Message;

use crate::app::App;
use crate::auth::Caller;
use crate::order::Order;
use crate::request_id::RequestId;

/// How long an answer can be named.
const KEPT: Duration = Duration::from_hours(1);

/// What an entry takes besides its tokens.
const OVERHEAD: usize = 256;

/// An answer and what it answers.
#[derive(Debug, Clone)]
pub struct Said {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens of the answer.
    pub answer: Vec<u32>,
    /// The same as text, where pairs are kept.
    pub words: Option<Words>,
}

/// An answer and what it answers, as text.
#[derive(Debug, Clone)]
pub struct Words {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The answer.
    pub answer: String,
}

impl Said {
    /// Bytes it takes.
    fn bytes(&self) -> usize {
        let text =
            |words: &Words| words.answer.len() + words.prompt.iter().map(|turn| turn.content.len()).sum::<usize>();
        OVERHEAD + 4 * (self.prompt.len() + self.answer.len()) + self.words.as_ref().map_or(0, text)
    }
}

/// Answers by owner and request id, as many as there is room for. In memory alone.
pub struct Recent(Cache<(Arc<str>, Arc<str>), Arc<Said>>);

impl Recent {
    /// Room for `bytes`.
    pub fn new(bytes: u64) -> Self {
        let weight = |_: &(Arc<str>, Arc<str>), said: &Arc<Said>| u32::try_from(said.bytes()).unwrap_or(u32::MAX);
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
    /// Will keep the answer to request `id` of `caller`, whose tokens are `prompt`. `None` where nothing is learned.
    pub fn begin(app: &App, caller: &Caller, id: &RequestId, order: &Order, prompt: &[u32]) -> Option<Self> {
        app.profiles.as_ref()?;
        let words = || Words { prompt: order.messages.clone(), answer: String::new() };
        let words = app.config.learning.keeps_pairs().then(words);
        let said = Said { prompt: prompt.to_vec(), answer: Vec::new(), words };
        Some(Self { recent: app.recent.clone(), owner: caller.owner().clone(), request: id.as_str().into(), said })
    }

    /// A token came, which made `text` certain.
    pub fn token(&mut self, id: u32, text: &str) {
        self.said.answer.push(id);
        self.say(text);
    }

    fn say(&mut self, text: &str) {
        if let Some(words) = &mut self.said.words {
            words.answer.push_str(text);
        }
    }

    /// It is whole, with `tail` as its last text.
    pub fn finish(mut self, tail: &str) {
        self.say(tail);
        if !self.said.answer.is_empty() {
            self.recent.keep(self.owner, self.request, self.said);
        }
    }
}
