//! `/v1`: OpenAI's shape.

use serde_json::{Value, json};

use crate::common::{Server, events};

fn body() -> Value {
    json!({
        "model": "soup:concise=0.6,friendly=0.4",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 4,
        "temperature": 0
    })
}

async fn refused(server: &Server, body: &Value) -> (u16, String, Value) {
    let response = server.post("/v1/chat/completions", body).await;
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    let error = response.json::<Value>().await.unwrap()["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    (status, error["code"].as_str().unwrap().to_owned(), error)
}

#[tokio::test]
async fn a_whole_completion() {
    let server = Server::start().await;
    let response = server.post("/v1/chat/completions", &body()).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("x-soup-id"));
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "soup:concise=0.6,friendly=0.4");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert!(["length", "stop"].contains(&answer["choices"][0]["finish_reason"].as_str().unwrap()));
    let usage = &answer["usage"];
    let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert_eq!(answer["soup"]["weights"], json!({"concise": 0.6, "friendly": 0.4}));
}

#[tokio::test]
async fn a_stream_ends_with_usage_and_done() {
    let server = Server::start().await;
    let whole: Value = server.post("/v1/chat/completions", &body()).await.json().await.unwrap();
    let mut body = body();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let text = server.post("/v1/chat/completions", &body).await.text().await.unwrap();
    let events = events(&text);
    let chunks: Vec<&Value> = events.iter().map(|(_, data)| data).collect();
    assert_eq!(chunks.iter().filter(|c| c.as_str() == Some("[DONE]")).count(), 1);
    assert_eq!(chunks.last().unwrap().as_str(), Some("[DONE]"));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let usage = chunks[chunks.len() - 2];
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    let last = chunks[chunks.len() - 3];
    assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn the_preference_may_be_a_field() {
    let server = Server::start().await;
    let by_name: Value = server.post("/v1/chat/completions", &body()).await.json().await.unwrap();
    let mut body = body();
    body["model"] = json!("tureen");
    body["preference"] = json!({"concise": 0.6, "friendly": 0.4});
    let by_field: Value = server.post("/v1/chat/completions", &body).await.json().await.unwrap();
    assert_eq!(by_name["soup"], by_field["soup"]);
}

#[tokio::test]
async fn what_clients_send_besides_is_ignored() {
    let server = Server::start().await;
    let mut body = body();
    for (key, value) in [
        ("store", json!(false)),
        ("metadata", json!({"a": "b"})),
        ("n", json!(1)),
        ("stop", json!("zzz")),
        ("tools", json!([])),
        ("stream", Value::Null),
        ("presence_penalty", json!(0)),
        ("response_format", json!({"type": "text"})),
        ("max_completion_tokens", json!(2)),
        ("logprobs", json!(true)),
        (
            "messages",
            json!([
                {"role": "developer", "content": "be kind", "name": "x"},
                {"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}
            ]),
        ),
    ] {
        body[key] = value;
    }
    let response = server.post("/v1/chat/completions", &body).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let answer: Value = response.json().await.unwrap();
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 2);
    assert!(answer["choices"][0]["logprobs"]["content"][0]["logprob"].is_number());
}

#[tokio::test]
async fn errors_have_their_shape() {
    let server = Server::start().await;
    let cases = [
        ("model", json!("gpt-0"), 404, "model_not_found"),
        ("model", json!("soup:no-such=1"), 422, "unknown_policy"),
        ("model", json!("soup:concise=x"), 422, "invalid_preference"),
        ("user", json!("u-17"), 422, "invalid_field"),
        ("preference", json!({"concise": 1}), 422, "invalid_field"),
        ("n", json!(2), 422, "not_supported"),
        ("tools", json!([{"type": "function"}]), 422, "not_supported"),
        ("response_format", json!({"type": "json_object"}), 422, "not_supported"),
        ("top_logprobs", json!(3), 422, "not_supported"),
        ("frequency_penalty", json!(0.5), 422, "not_supported"),
        ("messages", json!([]), 422, "invalid_field"),
        ("messages", json!([{"role": "user", "content": null}]), 422, "invalid_field"),
        ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}]), 422, "not_supported"),
        ("temperature", json!(3), 422, "invalid_field"),
    ];
    for (key, value, status, code) in cases {
        let mut body = body();
        body[key] = value.clone();
        let (got, got_code, error) = refused(&server, &body).await;
        assert_eq!((got, got_code.as_str()), (status, code), "{key}={value}: {error}");
    }
    let response = server.post_raw("/v1/chat/completions", "{").await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "invalid_json");
    let response = server.get("/v1/no-such").await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "not_found");
}

#[tokio::test]
async fn models_lists_the_base_and_one_soup_per_policy() {
    let server = Server::start().await;
    let list: Value = server.get("/v1/models").await.json().await.unwrap();
    assert_eq!(list["object"], "list");
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[1..], ["soup:concise=1", "soup:friendly=1"]);
}
