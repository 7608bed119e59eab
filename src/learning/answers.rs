//! Answers of the last hour, so that feedback can name them: in memory, and where that is wanted in the store.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::auth::Caller;
use crate::config;
use crate::order::{Order, Wish};
use crate::request_id::RequestId;
use crate::store::{Store, StoreError, UserId, Whose, Words};

/// How long an answer can be named.
pub const KEPT: Duration = Duration::from_hours(1);

/// What an entry takes besides its tokens.
const OVERHEAD: usize = 256;

/// Answers on their way to the store. While it is that slow, more are kept in memory alone.
const UNDER_WAY: usize = 256;

/// An answer and what it answers.
#[derive(Debug, Clone)]
pub struct Said {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens of the answer.
    pub answer: Vec<u32>,
    /// The same as text, where text is kept.
    pub words: Option<Words>,
    /// Whom it was for, if the request named somebody.
    pub user: Option<UserId>,
}

impl Said {
    /// Bytes it takes.
    fn bytes(&self) -> usize {
        let text =
            |words: &Words| words.answer.len() + words.prompt.iter().map(|turn| turn.content.len()).sum::<usize>();
        OVERHEAD + 4 * (self.prompt.len() + self.answer.len()) + self.words.as_ref().map_or(0, text)
    }
}

/// Owner and request id.
type Name = (Arc<str>, Arc<str>);

/// Answers by owner and request id: as many as there is room for in memory, and all in the store if it has them.
pub struct Recent {
    held: Cache<Name, Arc<Said>>,
    kept: Option<Kept>,
}

struct Kept {
    store: Store,
    under_way: TaskTracker,
    places: Arc<Semaphore>,
}

/// Where an answer was found.
pub enum Found {
    /// Here, as it was said.
    Said(Arc<Said>),
    /// In the store, which has its text.
    Words(Words),
}

impl Recent {
    /// As configured. Without a store there is memory alone.
    pub fn new(config: &config::Learning, store: Option<&Store>) -> Self {
        let weight = |_: &Name, said: &Arc<Said>| u32::try_from(said.bytes()).unwrap_or(u32::MAX);
        let held = Cache::builder().max_capacity(config.recent_bytes).weigher(weight).time_to_live(KEPT);
        let kept = |store: &Store| Kept {
            store: store.clone(),
            under_way: TaskTracker::new(),
            places: Arc::new(Semaphore::new(UNDER_WAY)),
        };
        Self {
            held: held.support_invalidation_closures().build(),
            kept: store.filter(|_| config.stores_answers).map(kept),
        }
    }

    /// The answer to request `id`, if `owner` asked.
    ///
    /// # Errors
    /// When it is not in memory and the store does not answer.
    pub async fn find(&self, owner: &Arc<str>, id: &str) -> Result<Option<Found>, StoreError> {
        if let Some(said) = self.held.get(&(owner.clone(), id.into())) {
            return Ok(Some(Found::Said(said)));
        }
        let Some(kept) = &self.kept else { return Ok(None) };
        let age = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        Ok(kept.store.answer(owner, id, age).await?.map(Found::Words))
    }

    /// Forgets here what was said for a user; the store erases its own.
    pub fn erase(&self, whose: Whose) {
        let theirs = move |(owner, _): &Name, said: &Arc<Said>| {
            said.user.as_ref().is_some_and(|user| Whose::new(owner, user) == whose)
        };
        self.held.invalidate_entries_if(theirs).expect("closures are supported by how it was built");
    }

    /// Ends when no answer is on its way to the store any more. None may begin afterwards.
    pub async fn settle(&self) {
        if let Some(kept) = &self.kept {
            kept.under_way.close();
            kept.under_way.wait().await;
        }
    }

    /// Keeps an answer. Nobody waits for the store: it may be gone, and the answer was asked for, not its keeping.
    fn keep(&self, name: Name, said: Said) {
        let said = Arc::new(said);
        self.held.insert(name.clone(), said.clone());
        let Some(Kept { store, under_way, places }) = &self.kept else { return };
        let Ok(place) = places.clone().try_acquire_owned() else { return };
        let store = store.clone();
        under_way.spawn(async move {
            let Some(words) = &said.words else { return };
            if let Err(error) = store.keep_answer(&name.0, &name.1, said.user.as_ref(), words).await {
                tracing::warn!(%error, "an answer is kept in memory alone");
            }
            drop(place);
        });
    }
}

/// An answer that is being made and will be kept.
pub struct Keeping {
    recent: Arc<Recent>,
    name: Name,
    said: Said,
}

impl Keeping {
    /// Will keep the answer to request `id` of `caller`, whose tokens are `prompt`. `None` where nothing is learned.
    pub fn begin(app: &App, caller: &Caller, id: &RequestId, order: &Order, prompt: &[u32]) -> Option<Self> {
        app.profiles.as_ref()?;
        let learning = &app.config.learning;
        let words = || Words { prompt: order.messages.clone(), answer: String::new() };
        let words = (learning.keeps_pairs() || learning.stores_answers).then(words);
        let user = match &order.wish {
            Wish::Inline { .. } => None,
            Wish::Profile { user, .. } => Some(user.clone()),
        };
        let said = Said { prompt: prompt.to_vec(), answer: Vec::new(), words, user };
        Some(Self { recent: app.recent.clone(), name: (caller.owner().clone(), id.as_str().into()), said })
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
            self.recent.keep(self.name, self.said);
        }
    }
}
