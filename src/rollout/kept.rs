//! A roll-out outlives the process: what is running, and how the last one ended, is in the store.
//!
//! A change is stored before it takes effect. An end takes effect at once, whatever the store does, and is stored right
//! behind. Whoever stores does so in turn, so that the last one to store knows all that happened.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tureen_engine::Beside;

use super::{Ended, Plan, Rollout, Running, Since, State, open};
use crate::app::App;
use crate::store::{KeptRollout, StoreError};

/// How soon what could not be stored is stored again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a restart has to know of one that is running.
#[derive(Serialize, Deserialize)]
struct Kept {
    revision: String,
    plan: Plan,
    since: u64,
}

impl Rollout {
    /// Begins with a candidate that was opened `since`; `false` when it is not wanted any more.
    ///
    /// # Errors
    /// When the store does not answer; nothing changes then.
    pub async fn begin(&self, beside: Beside, since: Since, plan: Plan) -> Result<bool, StoreError> {
        let running = Running::new(beside, plan, super::now());
        self.switch(running, |state| state.taken_back == since.0).await
    }

    /// Serves the candidate to others from now on; `false` when no roll-out is running any more.
    ///
    /// # Errors
    /// When the store does not answer; nothing changes then.
    pub async fn change(&self, plan: Plan) -> Result<bool, StoreError> {
        let Some(now) = self.running() else { return Ok(false) };
        let goes_on = |state: &State| state.is_running(&now.outcomes);
        self.switch(now.with(plan), goes_on).await
    }

    async fn switch(&self, to: Running, wanted: impl Fn(&State) -> bool) -> Result<bool, StoreError> {
        let _in_turn = self.turn.lock().await;
        let last = {
            let state = self.read();
            if !wanted(&state) {
                return Ok(false);
            }
            state.last.clone()
        };
        // Until the end of this, what is stored may not be what is: whoever gives up in between leaves it to `keep_on`.
        let change = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        self.put(Some(&to), last.as_ref()).await?;
        let mut state = self.write();
        let wanted = wanted(&state);
        if wanted {
            state.running = Some(Arc::new(to));
            self.kept.store(change, Ordering::Release);
        }
        Ok(wanted)
    }

    /// Stores what is.
    ///
    /// # Errors
    /// When the store does not answer; [`Self::keep_on`] tries again.
    pub async fn keep(&self) -> Result<(), StoreError> {
        let _in_turn = self.turn.lock().await;
        let change = self.changes.load(Ordering::Acquire);
        let (running, last) = {
            let state = self.read();
            (state.running.clone(), state.last.clone())
        };
        self.put(running.as_deref(), last.as_ref()).await?;
        self.kept.store(change, Ordering::Release);
        Ok(())
    }

    /// Whether what is stored is what is.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire) == self.changes.load(Ordering::Acquire)
    }

    /// Stores what ended by itself, and what could not be stored, until it is dropped.
    pub async fn keep_on(&self) -> Infallible {
        let mut warned = false;
        loop {
            // It may be over already: what was changed is counted, not only told.
            let _ = timeout(AGAIN, self.changed.notified()).await;
            if self.is_kept() {
                continue;
            }
            let kept = self.keep().await;
            if let (Err(error), false) = (&kept, warned) {
                tracing::error!(%error, "the roll-out cannot be stored: a restart would take up an older one");
            }
            warned = kept.is_err();
        }
    }

    async fn put(&self, running: Option<&Running>, last: Option<&Ended>) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let kept = running.map(|running| Kept {
            revision: running.pool().revision().to_string(),
            plan: running.plan().clone(),
            since: running.since(),
        });
        store.keep_rollout(KeptRollout { running: kept.as_ref().map(write), last: last.map(write) }).await
    }
}

/// Takes up the roll-out that was running when the server stopped. Without its revision the stable one serves everybody,
/// and what is stored stays for another start.
///
/// # Errors
/// When the store does not answer.
pub async fn resume(app: &App) -> Result<(), StoreError> {
    let Some(store) = &app.store else { return Ok(()) };
    let KeptRollout { running, last } = store.rollout().await?;
    app.rollout.write().last = last.as_deref().map(read).transpose()?;
    let Some(Kept { revision, plan, since }) = running.as_deref().map(read).transpose()? else { return Ok(()) };
    match candidate(app, &revision).await {
        Ok(beside) => {
            tracing::info!(revision, "the roll-out goes on");
            app.rollout.write().running = Some(Arc::new(Running::new(beside, plan, since)));
        }
        Err(detail) => {
            let what =
                "the roll-out does not go on: the stable revision serves everybody. DELETE /admin/rollout forgets it";
            tracing::warn!(revision, detail, "{what}");
        }
    }
    Ok(())
}

async fn candidate(app: &App, revision: &str) -> Result<Beside, String> {
    if app.engine.pool().revision().to_string() == revision {
        return Err("it is the stable revision".into());
    }
    let (worker, wanted) = (app.clone(), revision.to_owned());
    let opened = tokio::task::spawn_blocking(move || open(&worker, &wanted)).await;
    let refused = opened.map_err(|_| "opening it crashed".to_owned())?;
    refused.map_err(|error| [vec![error.detail], error.problems].concat().join("; "))
}

fn write(what: &impl Serialize) -> String {
    serde_json::to_string(what).expect("names and numbers are always JSON")
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Row("a roll-out is none".into()))
}
