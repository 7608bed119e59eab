//! Slabs of pages whose memory the system has already given.
//!
//! The system clears memory when it is first written to. On huge pages that takes a millisecond, and two threads of a step
//! that write to the same one clear it twice: a thread of its own does it before.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tureen_kernels::{Page, PageShape};

/// Slabs that are kept ready.
const SLABS: usize = 4;

/// Pages of one slab.
type Slab = Vec<Page>;

/// Makes slabs, most often before they are asked for.
#[derive(Debug)]
pub(super) struct Reserve {
    shape: PageShape,
    /// Pages of a slab.
    together: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Slab>,
    stop: bool,
}

impl Reserve {
    /// Keeps slabs of `together` pages ready, where these lie on huge pages.
    pub(super) fn new(shape: PageShape, together: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let mut reserve = Self { shape, together, shared: shared.clone(), thread: None };
        if together > 1 {
            let thread = std::thread::Builder::new().name("tureen-pages".to_owned());
            // Without the thread all works: memory is cleared when it is first written to.
            reserve.thread = thread.spawn(move || shared.fill(shape, together)).ok();
        }
        reserve
    }

    /// A slab.
    pub(super) fn take(&self) -> Slab {
        let ready = self.shared.state().ready.pop();
        self.shared.changed.notify_one();
        ready.unwrap_or_else(|| Page::several(self.shape, self.together))
    }
}

impl Shared {
    fn fill(&self, shape: PageShape, together: usize) {
        let mut state = self.state();
        while !state.stop {
            if state.ready.len() >= SLABS {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let mut slab = Page::several(shape, together);
            slab.iter_mut().for_each(Page::touch);
            state = self.state();
            state.ready.push(slab);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches nothing that could be told here.
            let _ = thread.join();
        }
    }
}
