//! Clients that leave, and a server that leaves.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Fixture, PATIENCE, Server, events, long_stream, short};
use crate::process::Running;

/// Opens a stream and reads until the first event is there.
async fn open_stream(server: &Server) -> (String, TcpStream) {
    let body = long_stream().to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("data:") {
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an event").unwrap();
        assert!(n > 0, "closed after {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    (seen, stream)
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_row() {
    let server = Server::start().await;
    let streams = futures_util::future::join_all((0..8).map(|_| open_stream(&server))).await;
    assert!(streams.iter().all(|(head, _)| head.starts_with("HTTP/1.1 200")));
    drop(streams);
    server.until_metric("tureen_num_requests_running", 0.0).await;
    server.until_metric("tureen_num_requests_waiting", 0.0).await;
    server.until_metric("tureen_kv_cache_usage_ratio", 0.0).await;
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_a_whole_answer_frees_its_row() {
    let server = Server::start().await;
    let mut body = long_stream();
    body["stream"] = false.into();
    let request = server.http.post(server.url("/generate")).json(&body).timeout(Duration::from_millis(20));
    let _ = request.send().await;
    server.until_metric("tureen_num_requests_running", 0.0).await;
}

#[tokio::test]
async fn a_stream_in_flight_finishes_within_the_grace() {
    let mut server = Server::start().await;
    let (mut seen, mut stream) = open_stream(&server).await;
    server.begin_shutdown();
    let rest = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut seen)).await.expect("it ends");
    rest.unwrap();
    assert!(seen.contains("\"generated_text\""), "{}", &seen[seen.len().saturating_sub(400)..]);
    assert!(!seen.contains("event: error"));
    let took = server.stopped().await;
    assert!(took < Duration::from_secs(15), "it waited for the grace although nothing ran: {took:?}");
}

#[tokio::test]
async fn after_the_grace_a_stream_ends_with_one_error() {
    let mut server = Server::with(&[("SERVER__SHUTDOWN_GRACE_MS", "0")]).await;
    let (_, mut stream) = open_stream(&server).await;
    server.begin_shutdown();
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("it ends").unwrap();
    // The body is chunked; the last event arrives in a chunk of its own.
    assert_eq!(rest.matches("event: error").count(), 1, "{rest}");
    assert!(rest.contains("\"code\":\"shutting_down\""));
    assert!(!rest.contains("generated_text"));
    assert!(rest.ends_with("0\r\n\r\n"), "the body is complete");
    assert!(server.stopped().await < Duration::from_secs(2));
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_the_server() {
    let mut server = Server::with(&[("SERVER__SHUTDOWN_GRACE_MS", "100")]).await;
    let held = futures_util::future::join_all((0..4).map(|_| open_stream(&server))).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    server.begin_shutdown();
    assert!(server.stopped().await < Duration::from_millis(100 + 2000));
    drop((held, idle));
}

#[tokio::test]
async fn a_generation_that_takes_too_long_ends_with_its_code() {
    let server = Server::with(&[("SERVER__REQUEST_TIMEOUT_MS", "1")]).await;
    let response = server.post("/generate", &long_stream()).await;
    let status = response.status();
    let body = response.text().await.unwrap();
    assert!(body.contains("deadline_exceeded"), "{status} {body}");
    if status == 200 {
        let events = events(&body);
        assert_eq!(events.iter().filter(|(name, _)| name == "error").count(), 1);
        assert_eq!(events.last().unwrap().0, "error");
    } else {
        assert_eq!(status, 504);
    }
    server.until_metric("tureen_num_requests_running", 0.0).await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    // One row for two streams: the second one waits before its first token, so its head has not come yet; the first is
    // read slowly on purpose and must still arrive whole and in order.
    let server = Server::with(&[("SERVER__KEEP_ALIVE_MS", "1")]).await;
    let response = server.post("/generate", &long_stream()).await;
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await {
        body.extend_from_slice(&bytes.unwrap());
    }
    let body = String::from_utf8(body).unwrap();
    let events = events(&body);
    assert_eq!(events.len(), 401);
    assert!(events.iter().enumerate().all(|(i, (_, data))| data["index"] == i));
}

/// The files beside the base and the pool.
fn files(fixture: &Fixture) -> Vec<String> {
    let entries = std::fs::read_dir(fixture.dir.path()).unwrap().map(|entry| entry.unwrap());
    let names = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

async fn put_profile(server: &Server, user: &str) {
    let put = server.http.put(server.url(&format!("/users/{user}/profile")));
    put.json(&json!({"preference": {"concise": 1}})).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn a_server_that_left_leaves_its_store_whole_in_one_file() {
    let settings = [("SERVER__SHUTDOWN_GRACE_MS", "0"), ("LEARNING__PAIRS_DAYS", "30"), ("LEARNING__ANSWERS", "store")];
    let mut server = Server::with(&settings).await;
    for user in ["kept", "canary-erased"] {
        put_profile(&server, user).await;
    }
    let body = json!({"inputs": "canary-asked", "chosen": {"text": "canary-good"}, "rejected": {"text": "canary-bad"}});
    assert_eq!(server.post("/users/canary-erased/feedback", &body).await.status(), 200);
    assert_eq!(files(&server.fixture), ["tureen.db", "tureen.db-shm", "tureen.db-wal"]);
    assert!(std::fs::read(server.fixture.store()).unwrap().len() < 1 << 20);
    server.http.delete(server.url("/users/canary-erased")).send().await.unwrap().error_for_status().unwrap();
    // The last requests are still running when it is told to leave: one is cut off, one is answered before it.
    let (_, mut stream) = open_stream(&server).await;
    let last = server.generate(&short(json!({"concise": 1}))).await;
    server.begin_shutdown();
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("it ends").unwrap();
    let fixture = server.stopped_leaving().await;
    assert_eq!(files(&fixture), ["tureen.db"], "the write-ahead log is in the file");
    let bytes = std::fs::read(fixture.store()).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"canary"), "what was erased is on no disk any more");

    // The file alone has everything that was acknowledged.
    let moved = Fixture::new();
    std::fs::copy(fixture.store(), moved.store()).unwrap();
    let server = Server::on(moved, &settings).await;
    assert_eq!(server.get("/users/kept/profile").await.status(), 200);
    assert_eq!(server.get("/users/canary-erased/export").await.status(), 404);
    let rating = json!({"answer": {"request_id": last["request_id"]}, "rating": 1});
    assert_eq!(server.post("/users/kept/feedback", &rating).await.status(), 200);
}

#[test]
fn a_process_that_is_told_to_leave_closes_its_store() {
    let fixture = Fixture::new();
    let mut server = Running::start(&fixture.variables(&[("SERVER__SHUTDOWN_GRACE_MS", "500")]));
    let put = async || {
        let put = reqwest::Client::new().put(format!("{}/users/u/profile", server.url));
        put.json(&json!({"preference": {}})).send().await.unwrap().status()
    };
    assert_eq!(tokio::runtime::Runtime::new().unwrap().block_on(put()), 201);
    assert!(files(&fixture).contains(&"tureen.db-wal".to_owned()));
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    assert_eq!(files(&fixture), ["tureen.db"]);
}
