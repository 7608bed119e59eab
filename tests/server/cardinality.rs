//! The metrics stay small, whatever is asked for and by how many.

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::Method;
use serde_json::json;

use crate::common::Server;
use crate::document::{document, operations};

const USERS: usize = 10_000;
const AT_ONCE: usize = 64;

/// As a user of their own, with a preference of their own, and on a path that nobody asked for before.
async fn ask(server: &Server, i: usize) {
    let preference = json!({"concise": i + 1, "friendly": USERS - i});
    let body = json!({"inputs": "a", "preference": preference, "parameters": {"max_new_tokens": 1}});
    assert_eq!(server.post("/generate", &body).await.status(), 200);
    assert_eq!(server.get(&format!("/users/canary-{i}/profile")).await.status(), 404);
    assert_eq!(server.get(&format!("/canary-{i}/{i}")).await.status(), 404);
}

/// Every route with every method and what provokes its refusals.
async fn provoke(server: &Server) {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CANARY"];
    let key = format!("tureen_{}_{}", "0".repeat(16), "0".repeat(64));
    for operation in operations(&document()) {
        for method in methods {
            let method: Method = method.parse().unwrap();
            for path in ["canary-1", "canary-2", "%20"].map(|id| operation.path.replace("{id}", id)) {
                for body in
                    ["", "{", "{}", r#"{"canary": 1}"#, r#"{"inputs": "a", "user": "canary"}"#, r#"{"messages": []}"#]
                {
                    let request = || server.http.request(method.clone(), server.url(&path)).body(body);
                    let json = request().header("content-type", "application/json").header("if-match", "canary");
                    json.send().await.unwrap();
                    if body == "{}" {
                        request().send().await.unwrap();
                        request().bearer_auth(&key).send().await.unwrap();
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_users_preferences_and_paths_leave_no_series_of_their_own() {
    let server = Server::with(&[("LIMITS__MAX_WAITING", "1000")]).await;
    provoke(&server).await;
    let size = async || {
        let text = server.get("/metrics").await.text().await.unwrap();
        assert!(!text.to_lowercase().contains("canary"), "no label holds what a client sent");
        (text.lines().filter(|line| !line.starts_with('#')).count(), text.len())
    };
    ask(&server, 0).await;
    let (before, _) = size().await;
    iter(1..USERS).map(|i| ask(&server, i)).buffer_unordered(AT_ONCE).for_each(async |()| ()).await;
    let (series, bytes) = size().await;
    // The second scrape counts the first.
    assert!(series <= before + 1, "{before} series became {series}");
    assert!(series <= 500 && bytes <= 256 << 10, "{series} series, {bytes} bytes");
}
