//! The signals that end the server.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ready at the first SIGTERM or SIGINT. A second one during the drain ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        wait(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            wait(&mut terminate, &mut interrupt).await;
            std::process::exit(1);
        });
    })
}

async fn wait(terminate: &mut tokio::signal::unix::Signal, interrupt: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
