//! Serving on a listener until a shutdown future is ready or the engine has ended, then draining within the grace.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::housekeeping;
use crate::router::router;
use crate::tls::Tls;

/// After the streams are cut, the time their last bytes get to leave.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// The time the engine gets to end its step, and the store to take what is on its way and close.
const STOP: Duration = Duration::from_millis(500);

/// Why the server left, when nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener cannot be used.
    #[error(transparent)]
    Listener(#[from] io::Error),
    /// The engine ended by itself: its GPU is lost, or it crashed.
    #[error("the engine stopped working; the log says why, and a new start may help")]
    Engine,
}

/// Serves `app` until `shutdown` is ready or the engine has ended, then drains: readiness goes off, no new connection is
/// taken, generations run on for `server.shutdown_grace_ms`, what still runs then ends with `shutting_down`. Returns 2 s
/// after the grace at the latest, whatever the clients do.
///
/// # Errors
/// When the listener cannot be used, and when it was the engine that ended it.
pub async fn serve(
    listener: TcpListener,
    app: App,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let handle = Handle::new();
    let kept = app.store.clone().map(|store| tokio::spawn(housekeeping::keep(app.clone(), store)));
    let kept = kept.map(AbortOnDropHandle::new);
    let header_timeout = app.config.server.header_timeout;
    // Without these a client that sends one byte a minute holds a connection for ever.
    let mut server =
        axum_server::from_tcp(listener)?.handle(handle.clone()).first_request_timeout(Some(header_timeout));
    server.http_builder().http1().header_read_timeout(Some(header_timeout));
    let service = router(app.clone()).into_make_service();
    let mut _followed = None;
    let serving: BoxFuture<'_, io::Result<()>> = match tls {
        None => Box::pin(server.serve(service)),
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls.served()).handshake_timeout(header_timeout);
            let metrics = app.metrics.clone();
            _followed = Some(AbortOnDropHandle::new(tokio::spawn(async move { tls.follow(&metrics).await })));
            Box::pin(server.acceptor(acceptor).serve(service))
        }
    };
    let mut engine_ended = false;
    let leaving = async {
        tokio::select! {
            () = shutdown => {}
            // Whatever it still owed was told; what comes now is refused until the last connection is gone.
            () = app.engine.ended() => engine_ended = true,
        }
    };
    let served = tokio::select! {
        served = serving => served,
        never = drain(&app, handle, leaving) => match never {},
    };
    // The last connection may be gone before the grace is over; from here on nothing new may begin.
    app.lifecycle.cut();
    let (engine, audit) = (app.engine.clone(), app.audit.clone());
    let stopping = tokio::task::spawn_blocking(move || {
        // Generations that it ends leave their records.
        engine.shutdown();
        if let Some(audit) = audit {
            audit.close();
        }
    });
    drop(kept);
    let (stopped, ()) = tokio::join!(tokio::time::timeout(STOP, stopping), close_store(&app));
    if stopped.is_err() {
        tracing::warn!("the engine is still in a step; leaving without it");
    }
    served?;
    if engine_ended { Err(ServeError::Engine) } else { Ok(()) }
}

/// Behind the last request. A SQLite file is whole then by itself: its write-ahead log is in it and gone.
async fn close_store(app: &App) {
    let Some(store) = &app.store else { return };
    let closing = async {
        app.recent.settle().await;
        if !app.rollout.is_kept()
            && let Err(error) = app.rollout.keep().await
        {
            tracing::error!(%error, "the roll-out is not stored as it ended: the next start may take it up");
        }
        store.close().await;
    };
    if tokio::time::timeout(STOP, closing).await.is_err() {
        tracing::warn!("the store is still at work; leaving without it: nothing that was answered is lost");
    }
}

/// Runs beside the server and ends it; never returns by itself.
async fn drain(app: &App, handle: Handle<SocketAddr>, shutdown: impl Future<Output = ()>) -> std::convert::Infallible {
    shutdown.await;
    let grace = app.config.server.shutdown_grace;
    tracing::info!(grace_ms = grace.as_millis() as u64, "shutting down");
    app.lifecycle.drain();
    handle.graceful_shutdown(Some(grace + LAST_BYTES));
    tokio::time::sleep(grace).await;
    app.lifecycle.cut();
    std::future::pending().await
}
