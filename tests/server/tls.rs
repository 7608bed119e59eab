//! TLS: which certificate is shown, and what becomes of new ones.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tureen::config::Config;
use tureen::startup;

use crate::common::{Fixture, PATIENCE, Server};

/// A certificate for localhost that signs itself, and its key, as files. Returns the certificate.
fn write(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

fn settings(dir: &Path) -> [(&'static str, String); 2] {
    let path = |name: &str| dir.join(name).display().to_string();
    [("SERVER__TLS_CERT", path("cert.pem")), ("SERVER__TLS_KEY", path("key.pem"))]
}

async fn start(dir: &Path) -> Server {
    let [(cert, cert_path), (key, key_path)] = settings(dir);
    let timeout = ("SERVER__HEADER_TIMEOUT_MS", "300");
    Server::on(Fixture::new(), &[(cert, &cert_path), (key, &key_path), timeout]).await
}

/// A client that trusts `certificate` and nothing else.
fn client(server: &Server, certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).resolve("localhost", server.address).build().unwrap()
}

fn livez(server: &Server) -> String {
    format!("https://localhost:{}/livez", server.address.port())
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(dir.path());
    let server = start(dir.path()).await;
    let old = client(&server, &first);
    assert_eq!(old.get(livez(&server)).send().await.unwrap().status(), 200);
    let second = write(dir.path());
    // Each attempt is a client of its own, so a connection of its own.
    server.until(async || client(&server, &second).get(livez(&server)).send().await.is_ok()).await;
    assert!(client(&server, &first).get(livez(&server)).send().await.is_err(), "the first certificate is still shown");
    std::fs::write(dir.path().join("cert.pem"), "broken").unwrap();
    // Counted more than once when the server looks between the two files of a pair.
    let refused = || server.app.metrics.scrape(&server.app.engine.stats(), 0);
    server.until(async || refused().contains("tureen_tls_reloads_total{outcome=\"refused\"}")).await;
    assert_eq!(client(&server, &second).get(livez(&server)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let server = start(dir.path()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(&[0x16]).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "it is held for ever");
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_starts() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let failure = |cert: &Path, key: &Path| {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let more = [("SERVER__TLS_CERT", cert.as_str()), ("SERVER__TLS_KEY", key.as_str())];
        let config = Config::load(None, Fixture::new().variables(&more)).unwrap();
        let Err(failure) = startup::open_tls(&config) else { panic!("{cert} and {key} are taken") };
        assert_eq!(failure.code(), 78);
        failure.to_string()
    };
    write(dir.path());
    write(other.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (missing, foreign) = (dir.path().join("missing.pem"), other.path().join("key.pem"));
    for (cert, key, named) in [
        (&missing, &key, &missing),
        (&cert, &missing, &missing),
        (&key, &key, &key),
        (&cert, &cert, &cert),
        (&cert, &foreign, &foreign),
    ] {
        let message = failure(cert, key);
        assert!(message.contains(&named.display().to_string()), "{message}");
    }
}

#[tokio::test]
async fn the_healthcheck_speaks_tls() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let server = start(dir.path()).await;
    let mut config = server.app.config.as_ref().clone();
    config.server.bind = server.address;
    tokio::task::spawn_blocking(move || tureen::commands::healthcheck::run(&config)).await.unwrap().unwrap();
}
