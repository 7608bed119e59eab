//! A running generation, as its owner holds it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::answer::{End, Listener, News};
use crate::event::{Event, SoupPath};
use crate::sampling::TextStream;
use crate::scheduler::Command;

/// A running generation. Dropping it ends the work within one step and frees its memory.
pub struct Generation {
    path: SoupPath,
    // Before `_leave`: nobody must be listening when the scheduler wakes to look.
    listener: Listener,
    /// Tokens become text here, in their owner's time.
    text: TextStream,
    /// A stop sequence came up.
    stopped: bool,
    _leave: Leave,
}

struct Leave(SyncSender<Command>);

impl Generation {
    pub(crate) fn new(path: SoupPath, listener: Listener, text: TextStream, commands: SyncSender<Command>) -> Self {
        Self { path, listener, text, stopped: false, _leave: Leave(commands) }
    }

    /// How its soup is served.
    #[must_use]
    pub fn path(&self) -> SoupPath {
        self.path
    }

    /// The next event; `None` after the last one, or when the engine is gone.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll(context)).await
    }

    /// As [`Self::next`], for threads outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let context = Context::from_waker(&waker);
        loop {
            match self.poll(&context) {
                Poll::Ready(event) => return event,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<Event>> {
        self.listener.poll(context).map(|news| Some(self.event(news?)))
    }

    fn event(&mut self, news: News) -> Event {
        let mut text = String::new();
        match news {
            News::Token(index, told) => {
                if !told.silent {
                    self.stopped = self.text.push(told.sampled.id, &mut text);
                }
                Event::Token { index, id: told.sampled.id, text, logprob: told.sampled.logprob }
            }
            News::End(generated_tokens, End::Finished { reason, prompt_tokens, seed }) => {
                if !self.stopped {
                    self.text.finish(&mut text);
                }
                Event::Finished { reason, prompt_tokens, generated_tokens, seed, text }
            }
            News::End(_, End::Failed(error)) => Event::Failed(error),
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("path", &self.path).finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        // The scheduler may sleep with only this sequence waiting. If its inbox is full it is awake; if it is gone there
        // is nothing to free.
        let _ = self.0.try_send(Command::Wake);
    }
}
