//! Weights that must never reach the mathematics.

use serde_json::Value;

use crate::common::{Server, problem};

#[tokio::test]
async fn every_bad_weight_is_refused() {
    let server = Server::start().await;
    // (weights as typed, status, part of the message). JSON has no NaN: that is not JSON at all.
    let cases = [
        (r#"{"concise": 1e999}"#, 422, ""),
        (r#"{"concise": -1e999}"#, 422, ""),
        (r#"{"concise": -0.5}"#, 422, ""),
        (r#"{"concise": NaN}"#, 400, ""),
        (r#"{"concise": Infinity}"#, 400, ""),
        (r#"{"concise": "0.5"}"#, 422, ""),
        (r#"{"concise": null}"#, 422, ""),
        (r#"{"concise": 0.5, "concise": 0.5}"#, 422, ""),
        (r#"{"concise": 0, "friendly": 0}"#, 422, ""),
        (r#"{"concise": 0}"#, 422, ""),
        (r#"{"no-such": 1}"#, 422, "concise"),
        (r#"{"": 1}"#, 422, ""),
        (r#"["concise"]"#, 422, ""),
        (r#""concise""#, 422, ""),
        (r#"{"concise": [1]}"#, 422, ""),
    ];
    for (weights, status, hint) in cases {
        let body = format!(r#"{{"inputs":"a","preference":{weights},"parameters":{{"max_new_tokens":1}}}}"#);
        let (got, code, problem) = problem(server.post_raw("/generate", body.clone()).await).await;
        assert_eq!(got, status, "{weights}: {problem}");
        assert!(!code.is_empty());
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{weights}: {problem}");
    }
    assert_eq!(server.metric("tureen_num_requests_running").await, Some(0.0));
}

#[tokio::test]
async fn a_weight_too_large_for_f32_is_normalised_not_infinite() {
    let server = Server::start().await;
    let body = r#"{"inputs":"a","preference":{"concise":1e39,"friendly":1e39},"parameters":{"max_new_tokens":1}}"#;
    let response = server.post_raw("/generate", body).await;
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["soup"]["weights"]["concise"], 0.5);
}

#[tokio::test]
async fn a_sum_other_than_one_is_refused_unless_normalised() {
    let server = Server::start().await;
    let body = r#"{"inputs":"a","preference":{"concise":0.5},"merge":{"normalize":false}}"#;
    let (status, _, _) = problem(server.post_raw("/generate", body).await).await;
    assert_eq!(status, 422);
    for strength in ["-1", "5", "1e39"] {
        let body = format!(r#"{{"inputs":"a","preference":{{"concise":1}},"merge":{{"strength":{strength}}}}}"#);
        let (status, _, problem) = problem(server.post_raw("/generate", body).await).await;
        assert_eq!(status, 422, "{problem}");
    }
}
