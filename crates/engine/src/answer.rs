//! An answer on its way from the scheduler to its owner. Room for all of it is there from the start, so telling a token
//! neither waits nor allocates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::GenerationError;
use crate::event::FinishReason;
use crate::sampling::Sampled;

/// A token as it was chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) sampled: Sampled,
    /// It ends the answer and is no part of its text.
    pub(crate) silent: bool,
}

/// How an answer ended.
#[derive(Debug)]
pub(crate) enum End {
    Finished { reason: FinishReason, prompt_tokens: usize, seed: u64 },
    Failed(GenerationError),
}

/// What its owner hears next.
#[derive(Debug)]
pub(crate) enum News {
    /// The token with this index.
    Token(usize, Told),
    /// The end, after so many tokens.
    End(usize, End),
}

#[derive(Debug)]
struct State {
    tokens: Vec<Told>,
    end: Option<End>,
    /// Nothing follows.
    closed: bool,
    waker: Option<Waker>,
}

/// Held for a moment by both sides.
type Shared = Arc<Mutex<State>>;

/// The scheduler's side.
#[derive(Debug)]
pub(crate) struct Teller(Shared);

/// The owner's side. Dropping it says that nobody listens any more.
#[derive(Debug)]
pub(crate) struct Listener {
    shared: Shared,
    heard: usize,
}

/// The two sides of an answer of at most `tokens`.
pub(crate) fn answer(tokens: usize) -> (Teller, Listener) {
    let state = State { tokens: Vec::with_capacity(tokens), end: None, closed: false, waker: None };
    let shared = Arc::new(Mutex::new(state));
    (Teller(shared.clone()), Listener { shared, heard: 0 })
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Teller {
    /// Tells the next token.
    pub(crate) fn token(&self, told: Told) {
        self.tell(|state| state.tokens.push(told));
    }

    /// Tells the end.
    pub(crate) fn end(&self, end: End) {
        self.tell(|state| state.end = Some(end));
    }

    /// Whether somebody listens.
    pub(crate) fn is_heard(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn tell(&self, news: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        news(&mut state);
        let waker = state.waker.take();
        // Woken without the lock: who wakes wants it.
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(|state| state.closed = true);
    }
}

impl Listener {
    /// What was not heard yet; `None` when nothing follows.
    pub(crate) fn poll(&mut self, context: &Context<'_>) -> Poll<Option<News>> {
        let mut state = lock(&self.shared);
        if let Some(told) = state.tokens.get(self.heard) {
            self.heard += 1;
            return Poll::Ready(Some(News::Token(self.heard - 1, *told)));
        }
        if let Some(end) = state.end.take() {
            state.closed = true;
            return Poll::Ready(Some(News::End(self.heard, end)));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::{End, News, Told, answer};
    use crate::error::GenerationError;
    use crate::sampling::Sampled;

    fn told(id: u32) -> Told {
        Told { sampled: Sampled { id, logprob: 0.0 }, silent: false }
    }

    #[test]
    fn everything_is_heard_in_order_and_then_nothing() {
        let (teller, mut listener) = answer(2);
        let context = Context::from_waker(Waker::noop());
        assert!(listener.poll(&context).is_pending());
        teller.token(told(7));
        teller.token(told(8));
        teller.end(End::Failed(GenerationError::NotFinite));
        drop(teller);
        for (index, id) in [(0, 7), (1, 8)] {
            let Poll::Ready(Some(News::Token(at, told))) = listener.poll(&context) else { panic!() };
            assert_eq!((at, told.sampled.id), (index, id));
        }
        assert!(matches!(listener.poll(&context), Poll::Ready(Some(News::End(2, End::Failed(_))))));
        assert!(matches!(listener.poll(&context), Poll::Ready(None)));
    }

    #[test]
    fn either_side_notices_that_the_other_left() {
        let context = Context::from_waker(Waker::noop());
        let (teller, mut listener) = answer(1);
        teller.token(told(1));
        drop(teller);
        assert!(matches!(listener.poll(&context), Poll::Ready(Some(News::Token(0, _)))));
        assert!(matches!(listener.poll(&context), Poll::Ready(None)));
        let (teller, listener) = answer(1);
        assert!(teller.is_heard());
        drop(listener);
        assert!(!teller.is_heard());
    }
}
