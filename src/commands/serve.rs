//! `tureen serve`: fetch, bind, open, announce, serve, drain.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tureen_soup::Pool;

use crate::app::App;
use crate::config::Config;
use crate::exit::Failure;
use crate::{pull, rollout, serve, signals, startup};

/// Blocking work that is still under way when the server left is not waited for longer than this.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// Runs the server until a signal ends it.
///
/// # Errors
/// 78 when configuration, base, pool or port cannot be used; 70 when the engine cannot start, and when it ends by itself.
pub fn run(config: Config) -> Result<(), Failure> {
    if !config.base.path.exists() {
        pull::pull(&config).map_err(Failure::config)?;
    }
    let tls = startup::open_tls(&config)?;
    // Before the model is read: a taken port and a missing key are told at once.
    let listener = bind(config.server.bind)?;
    let address = listener.local_addr().map_err(Failure::engine)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::engine)?;
    let (store, auth) = runtime.block_on(startup::open_store(&config))?;
    let (base, pool) = startup::open(&config)?;
    let audit = startup::open_audit(&config)?;
    let engine = startup::start_engine(&config, base, pool)?;
    let app = App::new(engine, config, store, auth, audit);
    // Before the first request: whoever had the candidate gets it.
    runtime.block_on(rollout::resume(&app)).map_err(Failure::config)?;
    let served = runtime.block_on(async {
        let shutdown = signals::shutdown().map_err(Failure::engine)?;
        announce(address, if tls.is_some() { "https" } else { "http" }, &app.engine.pool());
        serve::serve(listener, app, tls, shutdown).await.map_err(Failure::engine)
    });
    runtime.shutdown_timeout(STRAGGLERS);
    served
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|e| {
        let port = address.port();
        Failure::Config(match e.kind() {
            ErrorKind::AddrInUse => format!(
                "{address} is in use: stop what listens there, or choose another port, for example \
                 TUREEN__SERVER__BIND={}:{} (port 0 takes a free one)",
                address.ip(),
                port.checked_add(1).unwrap_or(0)
            ),
            ErrorKind::PermissionDenied => format!("no permission to listen on {address}: take a port from 1024 up"),
            _ => format!("cannot listen on {address}: {e}; check [server] bind"),
        })
    })
}

fn announce(address: SocketAddr, scheme: &str, pool: &Pool) {
    let ids: Vec<_> = pool.policies().iter().map(|p| p.id().to_string()).collect();
    println!("tureen is ready on {scheme}://{address} (revision {}, {} policies)", pool.revision(), ids.len());
    let wish = match &ids[..] {
        [] => String::new(),
        [one] => format!("\"{one}\":1"),
        [one, .., other] => format!("\"{one}\":0.6,\"{other}\":0.4"),
    };
    println!(
        "try: curl -N {scheme}://{address}/generate -H 'content-type: application/json' \
         -d '{{\"inputs\":\"Why is the sky blue?\",\"preference\":{{{wish}}},\"stream\":true}}'"
    );
}
