//! `POST /generate` as the contract says.

use serde_json::{Value, json};

use crate::common::{Fixture, Server, events, long_stream, problem, short};

#[tokio::test]
async fn a_whole_answer_has_everything() {
    let server = Server::start().await;
    let response = server.post("/generate", &short(json!({"concise": 3.0, "friendly": 1.0}))).await;
    assert_eq!(response.status(), 200);
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let soup_id = response.headers()["x-soup-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], request_id);
    assert_eq!(body["soup"]["id"], soup_id);
    assert_eq!(body["soup"]["weights"], json!({"concise": 0.75, "friendly": 0.25}));
    assert_eq!(body["soup"]["method"], "exact");
    assert_eq!(body["soup"]["strength"], 1.0);
    assert_eq!(body["soup"]["path"], "gate");
    assert!(body["soup"]["revision"].as_str().unwrap().starts_with("r-"));
    assert_eq!(body["details"]["finish_reason"], "length");
    assert_eq!(body["details"]["generated_tokens"], 4);
    assert!(body["details"]["prompt_tokens"].as_u64().unwrap() >= 1);
    assert!(body["details"]["seed"].is_u64());
    assert!(body["details"].get("tokens").is_none());
    assert!(body["generated_text"].is_string());
}

#[tokio::test]
async fn no_preference_is_the_base() {
    let server = Server::start().await;
    let without = server.generate(&json!({"inputs": "hello", "parameters": {"max_new_tokens": 1}})).await;
    let empty =
        server.generate(&json!({"inputs": "hello", "preference": {}, "parameters": {"max_new_tokens": 1}})).await;
    assert_eq!(without["soup"]["weights"], json!({}));
    assert_eq!(without["soup"]["id"], empty["soup"]["id"]);
}

#[tokio::test]
async fn logprobs_list_the_tokens() {
    let server = Server::start().await;
    let mut body = short(json!({}));
    body["parameters"]["logprobs"] = json!(true);
    let answer = server.generate(&body).await;
    let tokens = answer["details"]["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 4);
    assert!(tokens.iter().all(|t| t["id"].is_u64() && t["logprob"].as_f64().unwrap() <= 0.0));
}

#[tokio::test]
async fn a_stream_tells_the_same_and_ends_once() {
    let server = Server::start().await;
    let mut body = short(json!({"friendly": 1.0}));
    let whole = server.generate(&body).await;
    body["stream"] = json!(true);
    let response = server.post("/generate", &body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-soup-id"], whole["soup"]["id"].as_str().unwrap());
    let events = events(&response.text().await.unwrap());
    assert_eq!(events.len(), 5, "four tokens and the end");
    assert!(events.iter().all(|(name, _)| name.is_empty()));
    for (i, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["index"], i);
        assert_eq!(data.get("details").is_some(), i == 4);
    }
    let text: String = events.iter().map(|(_, data)| data["token"]["text"].as_str().unwrap()).collect();
    let (_, last) = events.last().unwrap();
    assert_eq!(last["generated_text"], text);
    assert_eq!(last["generated_text"], whole["generated_text"]);
    assert_eq!(last["soup"], whole["soup"]);
    assert_eq!(last["details"]["finish_reason"], "length");
}

#[tokio::test]
async fn a_seed_repeats_the_answer() {
    let server = Server::start().await;
    let mut body = short(json!({"concise": 1.0}));
    body["parameters"]["temperature"] = json!(1.5);
    let first = server.generate(&body).await;
    body["parameters"]["seed"] = first["details"]["seed"].clone();
    assert_eq!(server.generate(&body).await["generated_text"], first["generated_text"]);
}

#[tokio::test]
async fn inputs_are_one_user_message() {
    let server = Server::start().await;
    let inputs = server.generate(&short(json!({}))).await;
    let mut body = short(json!({}));
    body.as_object_mut().unwrap().remove("inputs");
    body["messages"] = json!([{"role": "user", "content": "hello"}]);
    let messages = server.generate(&body).await;
    assert_eq!(inputs["details"]["prompt_tokens"], messages["details"]["prompt_tokens"]);
    assert_eq!(inputs["generated_text"], messages["generated_text"]);
}

#[tokio::test]
async fn merged_adapters_name_the_same_soup() {
    let server = Server::start().await;
    let own = server.generate(&short(json!({"concise": 0.6, "friendly": 0.4}))).await;
    let lorax = json!({
        "inputs": "hello",
        "parameters": {
            "max_new_tokens": 4,
            "ignore_eos": true,
            "merged_adapters": {"ids": ["concise", "friendly"], "weights": [0.6, 0.4], "merge_strategy": "linear"}
        }
    });
    assert_eq!(server.generate(&lorax).await["soup"], own["soup"]);
}

#[tokio::test]
async fn what_cannot_be_used_is_422_and_named() {
    let server = Server::start().await;
    let cases = [
        (json!({}), "invalid_field", Some("inputs")),
        (json!({"inputs": ""}), "invalid_field", Some("inputs")),
        (json!({"inputs": "a", "messages": []}), "invalid_field", Some("inputs")),
        (json!({"messages": []}), "invalid_field", Some("messages")),
        (json!({"messages": [{"role": "robot", "content": "a"}]}), "invalid_field", Some("messages[0].role")),
        (json!({"inputs": "a", "nonsense": 1}), "invalid_field", Some("nonsense")),
        (json!({"inputs": "a", "parameters": {"max_tokens": 1}}), "invalid_field", Some("parameters.max_tokens")),
        (
            json!({"inputs": "a", "parameters": {"max_new_tokens": 0}}),
            "invalid_field",
            Some("parameters.max_new_tokens"),
        ),
        (
            json!({"inputs": "a", "parameters": {"max_new_tokens": -1}}),
            "invalid_field",
            Some("parameters.max_new_tokens"),
        ),
        (
            json!({"inputs": "a", "parameters": {"max_new_tokens": 99999}}),
            "invalid_field",
            Some("parameters.max_new_tokens"),
        ),
        (json!({"inputs": "a", "parameters": {"temperature": -0.1}}), "invalid_field", Some("parameters.temperature")),
        (json!({"inputs": "a", "parameters": {"temperature": 1e39}}), "invalid_field", Some("parameters.temperature")),
        (json!({"inputs": "a", "parameters": {"top_p": 0.0}}), "invalid_field", Some("parameters.top_p")),
        (json!({"inputs": "a", "parameters": {"min_p": 1.1}}), "invalid_field", Some("parameters.min_p")),
        (
            json!({"inputs": "a", "parameters": {"repetition_penalty": 0}}),
            "invalid_field",
            Some("parameters.repetition_penalty"),
        ),
        (json!({"inputs": "a", "parameters": {"stop": [""]}}), "invalid_field", Some("parameters.stop")),
        (
            json!({"inputs": "a", "parameters": {"stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]}}),
            "invalid_field",
            Some("parameters.stop"),
        ),
        (
            json!({"inputs": "a", "parameters": {"logit_bias": {"x": 1}}}),
            "invalid_field",
            Some("parameters.logit_bias"),
        ),
        (json!({"inputs": "a", "parameters": {"logit_bias": {"999999": 1}}}), "invalid_field", Some("logit_bias")),
        (json!({"inputs": "a", "stream": "yes"}), "invalid_field", Some("stream")),
        (json!({"inputs": "a", "user": "u 1"}), "invalid_user", Some("user")),
        (json!({"inputs": "a", "merge": {"method": "magic"}}), "invalid_field", Some("merge.method")),
        (json!({"inputs": "a", "merge": {"nonsense": 1}}), "invalid_field", Some("merge.nonsense")),
        (
            json!({"inputs": "a", "preference": {}, "parameters": {"merged_adapters": {"ids": ["concise"]}}}),
            "invalid_field",
            Some("parameters.merged_adapters"),
        ),
        (
            json!({"inputs": "a", "parameters": {"merged_adapters": {"ids": ["concise"], "weights": [1, 2]}}}),
            "invalid_field",
            Some("parameters.merged_adapters"),
        ),
        (json!({"inputs": "long ".repeat(3000)}), "prompt_too_long", Some("inputs")),
    ];
    for (body, code, field) in cases {
        for stream in [false, true] {
            let mut body = body.clone();
            if stream && body.get("stream").is_none() {
                body["stream"] = json!(true);
            }
            let (status, got, problem) = problem(server.post("/generate", &body).await).await;
            let shown: String = body.to_string().chars().take(120).collect();
            assert_eq!((status, got.as_str()), (422, code), "{shown}: {problem}");
            assert_eq!(problem.get("field").and_then(Value::as_str), field, "{shown}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_full_queue_is_503_with_retry_after() {
    let settings = [("ENGINE__MAX_BATCH_ROWS", "1"), ("LIMITS__MAX_WAITING", "1"), ("LIMITS__RETRY_AFTER_S", "7")];
    let server = Server::with(&settings).await;
    let mut open = Vec::new();
    for _ in 0..40 {
        let response = server.post("/generate", &long_stream()).await;
        if response.status() == 503 {
            assert_eq!(response.headers()["retry-after"], "7");
            let (_, code, _) = problem(response).await;
            assert_eq!(code, "queue_full");
            return;
        }
        open.push(response);
        // Streams wait for their first token; the queue fills with requests that are not waited for.
        let (http, url) = (server.http.clone(), server.url("/generate"));
        tokio::spawn(async move { http.post(url).json(&long_stream()).send().await });
    }
    panic!("40 requests for one row were all taken");
}

#[tokio::test]
async fn what_the_memory_can_never_hold_is_422_and_not_to_be_retried() {
    let fixture = Fixture::new();
    // A context whose KV cache is larger than the smallest budget; the pool is of the base as it was.
    let path = fixture.base().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(8192);
    std::fs::write(&path, config.to_string()).unwrap();
    let settings = [
        ("POOL__DIR", ""),
        ("ENGINE__MEMORY_BUDGET", "1MiB"),
        ("LIMITS__MAX_CONTEXT_TOKENS", "8192"),
        ("LIMITS__MAX_NEW_TOKENS", "8000"),
    ];
    let server = Server::on(fixture, &settings).await;
    let body = json!({"inputs": "Hi", "parameters": {"max_new_tokens": 8000}});
    let refused = server.post("/generate", &body).await;
    assert!(refused.headers().get("retry-after").is_none());
    let (status, code, problem) = problem(refused).await;
    assert_eq!((status, code.as_str()), (422, "out_of_memory"), "{problem}");
    let taken = json!({"inputs": "Hi", "parameters": {"max_new_tokens": 3}});
    assert_eq!(server.post("/generate", &taken).await.status(), 200);
}
