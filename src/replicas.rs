//! Hearing what other replicas change, so that what is held in memory can be held for long.
//!
//! A connection that looks alive may be none: its peer is gone, or a pooler between is deaf to `LISTEN`. So this replica
//! tells itself the time, by another connection, and believes to know all only up to the last time that it heard.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::app::App;
use crate::profiles::Profiles;
use crate::store::{Notice, Notices, Store, StoreError};

/// How often it tells itself the time.
const BEAT: Duration = Duration::from_millis(250);

/// Having heard nothing for so long, not even itself, it listens anew.
const SILENCE: Duration = Duration::from_secs(2);

/// How soon it listens anew.
const PAUSE: Duration = Duration::from_millis(250);

/// Drops from memory what any replica changes, for as long as it is not dropped itself. Does nothing where replicas do not
/// tell each other.
pub async fn follow(app: &App, store: &Store) -> Infallible {
    let Some(profiles) = app.profiles.as_ref().filter(|_| store.tells()) else { return std::future::pending().await };
    let mut warned = false;
    loop {
        let Err(error) = listen(app, store, profiles, &mut warned).await;
        profiles.deaf();
        app.metrics.listening(false);
        if !warned {
            tracing::warn!(%error, "changes by other replicas are not heard: profiles are held for a second");
        }
        warned = true;
        sleep(PAUSE).await;
    }
}

/// Until the connection is lost.
async fn listen(app: &App, store: &Store, profiles: &Profiles, warned: &mut bool) -> Result<Infallible, StoreError> {
    let Some(notices) = store.listen().await? else { return std::future::pending().await };
    // What was told before, nobody heard.
    profiles.drop_all();
    let of = rand::random();
    tokio::select! {
        lost = hear(app, store, profiles, (notices, of), warned) => lost,
        never = beat(store, profiles, of) => Ok(never),
    }
}

async fn hear(
    app: &App,
    store: &Store,
    profiles: &Profiles,
    (mut notices, own): (Notices, u64),
    warned: &mut bool,
) -> Result<Infallible, StoreError> {
    loop {
        let notice = timeout(SILENCE, notices.next()).await.unwrap_or(Err(StoreError::Deaf))?;
        match notice {
            Notice::Changed(whose) => profiles.drop_one(whose),
            Notice::Erased(whose) => {
                profiles.drop_one(whose);
                app.recent.erase(whose);
            }
            // Who comes too late here asks again soon (`housekeeping.rs`), and tells if there is anything to tell.
            Notice::Keys => {
                let _ = app.auth.refresh(store).await;
            }
            Notice::Beat { of, at } if of == own => {
                profiles.heard(at);
                app.metrics.listening(true);
                if std::mem::take(warned) {
                    tracing::info!("changes by other replicas are heard again");
                }
            }
            Notice::Beat { .. } => {}
        }
    }
}

async fn beat(store: &Store, profiles: &Profiles, of: u64) -> Infallible {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // One that cannot be told is not heard either, which is what counts.
        let _ = store.tell(Notice::Beat { of, at: profiles.clock() }).await;
    }
}
