//! `tureen healthcheck`: the question a container runtime asks, without needing a client in the image.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::config::Config;
use crate::exit::Failure;
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(3);

/// Exit 0 when `/readyz` answers 200.
///
/// # Errors
/// 70 with what was answered, or that nothing was.
pub fn run(config: &Config) -> Result<(), Failure> {
    let address = reachable(config.server.bind);
    let head = ask(address, config.server.tls.is_some())
        .map_err(|e| Failure::Engine(format!("no server answers on {address}: {e}")))?;
    if head.starts_with("HTTP/1.1 200") {
        println!("ready");
        return Ok(());
    }
    Err(Failure::Engine(format!("not ready: {}", head.lines().next().unwrap_or("no answer"))))
}

fn ask(address: SocketAddr, tls: bool) -> std::io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if !tls {
        return get(stream, address);
    }
    let config = tls::client::any_certificate().map_err(std::io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), address.ip().into()).map_err(std::io::Error::other)?;
    get(StreamOwned::new(connection, stream), address)
}

fn get(mut stream: impl Read + Write, address: SocketAddr) -> std::io::Result<String> {
    write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A server bound to every address is asked on the loopback one.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}
