//! What is done beside the requests, for as long as the server runs.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::learning::KEPT;
use crate::replicas;
use crate::store::{Store, StoreError};

/// A key that was made or revoked, here or elsewhere, works or ends after about this.
const KEYS: Duration = Duration::from_millis(500);

/// What is too old is forgotten this much later than it may be.
const OLD: Duration = Duration::from_mins(10);

/// Keeps keys and profiles in memory as the store has them, and the store free of what is too old. Returns when it is
/// dropped.
pub async fn keep(app: App, store: Store) -> Infallible {
    let ms = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let (changes, pairs) = (ms(app.config.store.idempotency), ms(app.config.learning.pairs));
    let keys = every(KEYS, || app.auth.refresh(&store));
    let old = every(OLD, || async {
        store.forget_changes(changes).await?;
        store.forget_answers(ms(KEPT)).await?;
        store.forget_pairs(pairs).await?;
        store.forget_reviews(ms(app.config.guard.keep)).await.map(drop)
    });
    tokio::select! {
        never = keys => never,
        never = old => never,
        never = replicas::follow(&app, &store) => never,
        never = app.rollout.keep_on() => never,
    }
}

/// Does `work` again and again. That the store is gone is told once, not at every attempt.
async fn every<F: Future<Output = Result<(), StoreError>>>(pause: Duration, work: impl Fn() -> F) -> Infallible {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = false;
    loop {
        ticks.tick().await;
        match work().await {
            Ok(()) => gone = false,
            Err(error) => {
                if !gone {
                    tracing::warn!(%error, "the store is gone; keys work as they were last read");
                }
                gone = true;
            }
        }
    }
}
