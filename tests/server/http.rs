//! What holds for every route.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{PATIENCE, Server, problem, short};
use crate::document::{Operation, document, operations};

#[tokio::test]
async fn a_harmless_request_id_is_kept_and_others_are_replaced() {
    let server = Server::start().await;
    for (given, kept) in [("abc-1.2_3", true), ("with space", false), ("", false), (&"x".repeat(65)[..], false)] {
        let response = server.http.get(server.url("/livez")).header("x-request-id", given).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(id == given, kept, "{given:?} became {id:?}");
        assert!(!id.is_empty() && id.len() <= 64);
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let server = Server::start().await;
    let (status, code, _) = problem(server.get("/no/such/route").await).await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
    let response = server.get("/generate").await;
    assert_eq!(response.headers()["allow"], "POST");
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
}

#[tokio::test]
async fn bodies_are_checked_before_they_are_believed() {
    let server = Server::with(&[("LIMITS__MAX_BODY_BYTES", "2048")]).await;
    let (status, code, _) = problem(server.post_raw("/generate", "{\"inputs\": ").await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_json"));
    let (status, code, _) = problem(server.post_raw("/generate", "{\"inputs\": \"a\"} {}").await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_json"));
    let (status, code, _) = problem(server.post_raw("/generate", "[".repeat(2000)).await).await;
    assert_eq!((status, code.as_str()), (422, "invalid_field"), "a list is JSON, but no request");
    let deep = format!("{{\"inputs\": {}", "[".repeat(2000));
    assert!(server.post_raw("/generate", deep).await.status().is_client_error());
    let (status, code, _) = problem(server.post_raw("/generate", "x".repeat(4096)).await).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
    let chunks = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>("x".repeat(64))));
    let (status, code, _) = problem(server.post_raw("/generate", reqwest::Body::wrap_stream(chunks)).await).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"), "without a content-length");
    let request = server.http.post(server.url("/generate")).body("{\"inputs\": \"a\"}");
    let (status, code, _) = problem(request.send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (415, "unsupported_media_type"));
}

#[tokio::test]
async fn a_slow_body_is_not_waited_for() {
    let server = Server::with(&[("SERVER__BODY_TIMEOUT_MS", "100")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_loses_its_connection() {
    let server = Server::with(&[("SERVER__HEADER_TIMEOUT_MS", "200")]).await;
    for first in ["GET /livez HTT", "GET /livez HTTP/1.1\r\nhost: a\r\n", ""] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // An end of file or a reset: either way the connection is gone.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(server.get("/livez").await.status(), 200);
}

#[tokio::test]
async fn probes_answer() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").await.text().await.unwrap(), "ok\n");
    let ready: Value = server.get("/readyz").await.json().await.unwrap();
    assert_eq!(ready["status"], "ready");
    server.app.lifecycle.drain();
    let (status, code, _) = problem(server.get("/readyz").await).await;
    assert_eq!((status, code.as_str()), (503, "shutting_down"));
    assert_eq!(server.get("/livez").await.status(), 200, "still alive");
    let (status, code, _) = problem(server.post("/generate", &short(json!({}))).await).await;
    assert_eq!((status, code.as_str()), (503, "shutting_down"));
}

#[tokio::test]
async fn metrics_are_there_and_bounded() {
    let server = Server::start().await;
    for i in 0..200 {
        let canary = format!("canary{i}");
        server.get(&format!("/random/{canary}")).await;
        server.get(&format!("/policies/{canary}")).await;
        server.post("/generate", &json!({"inputs": canary, "preference": {canary.clone(): 1}})).await;
        server.http.request(canary.to_uppercase().parse().unwrap(), server.url("/livez")).send().await.unwrap();
    }
    server.generate(&short(json!({"concise": 1.0}))).await;
    // The row leaves the batch right after its last event.
    server.until_metric("tureen_num_requests_running", 0.0).await;
    let response = server.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for name in [
        "tureen_time_to_first_token_seconds_count 1",
        "tureen_inter_token_latency_seconds_count 3",
        "tureen_e2e_request_latency_seconds_count 1",
        "tureen_num_requests_running 0",
        "tureen_num_requests_waiting 0",
        "tureen_kv_cache_usage_ratio ",
        "tureen_prompt_tokens_total ",
        "tureen_generation_tokens_total 4",
        "tureen_request_success_total{finished_reason=\"length\"} 1",
        "tureen_soups_served_total{path=\"gate\"} 1",
        "tureen_generations_refused_total{code=\"unknown_policy\"} 200",
        "tureen_pool_policies 2",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(!text.to_lowercase().contains("canary"));
    let series = text.lines().filter(|l| !l.starts_with('#')).count();
    assert!(series <= 500 && text.len() <= 256 << 10, "{series} series, {} bytes", text.len());
}

#[tokio::test]
async fn the_document_is_the_one_that_was_reviewed() {
    let server = Server::start().await;
    let served: Value = server.get("/openapi.json").await.json().await.unwrap();
    let printed = serde_json::to_value(tureen::router::document()).unwrap();
    assert_eq!(served, printed);
    // To accept a change: INSTA_UPDATE=always cargo test -p tureen the_document
    insta::assert_json_snapshot!("openapi", printed);
}

#[tokio::test]
async fn every_documented_route_exists() {
    let server = Server::start().await;
    for Operation { method, path, .. } in operations(&document()) {
        let response = server.http.request(method, server.url(&path)).send().await.unwrap();
        assert_ne!(response.status(), 405, "{path}");
        let body = response.text().await.unwrap();
        assert!(!body.contains("\"not_found\""), "{path}: {body}");
    }
}

#[tokio::test]
async fn the_documentation_page_needs_nothing_from_elsewhere() {
    let server = Server::start().await;
    let page = server.get("/docs/").await;
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(html.contains("swagger-ui"));
    assert!(!html.contains("https://") && !html.contains("http://"), "{html}");
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status(), 200);
}
