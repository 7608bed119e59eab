//! Which policy wanted an answer.

use serde_json::{Value, json};

use crate::common::{Server, events, problem, short};

fn explained(preference: Value) -> Value {
    let mut body = short(preference);
    body["parameters"]["logprobs"] = json!(true);
    body["parameters"]["max_new_tokens"] = json!(9);
    body["explain"] = json!(true);
    body
}

fn close(got: &Value, wanted: f64) {
    let got = got.as_f64().unwrap();
    // Single precision, written with as many digits as it has.
    assert!((got - wanted).abs() < 1e-4, "{got} is not {wanted}");
}

#[tokio::test]
async fn an_explanation_is_what_each_policy_would_have_told() {
    let server = Server::start().await;
    // The answer of one policy, explained: its own log-probabilities are those of the policy, bit for bit.
    for (name, other) in [("concise", "friendly"), ("friendly", "concise")] {
        let answer = server.generate(&explained(json!({name: 1}))).await;
        let (tokens, told) = (&answer["explanation"]["tokens"], answer["details"]["tokens"].as_array().unwrap());
        assert_eq!(tokens.as_array().unwrap().len(), told.len());
        for (token, told) in tokens.as_array().unwrap().iter().zip(told) {
            assert_eq!((&token["id"], &token["text"]), (&told["id"], &told["text"]));
            assert_eq!(token["soup"], told["logprob"]);
            assert_eq!(token["policies"][name], told["logprob"]);
            assert_ne!(token["policies"][other], told["logprob"]);
        }
        let sum = |of: &dyn Fn(&Value) -> f64| tokens.as_array().unwrap().iter().map(of).sum::<f64>();
        let base = sum(&|t| t["base"].as_f64().unwrap());
        close(&answer["explanation"]["base"], base);
        close(&answer["explanation"]["soup"], sum(&|t| t["soup"].as_f64().unwrap()));
        let policies = answer["explanation"]["policies"].as_array().unwrap();
        assert_eq!(policies.len(), 2);
        assert_eq!(policies[0]["policy"], name, "the policy that gave the answer wanted it most");
        for policy in policies {
            let own = sum(&|t| t["policies"][policy["policy"].as_str().unwrap()].as_f64().unwrap());
            close(&policy["logprob"], own);
            close(&policy["gain"], own - base);
        }
        let summary = answer["explanation"]["summary"].as_str().unwrap();
        assert!(summary.contains(name), "{summary}");
    }
    let base = server.generate(&explained(json!({}))).await;
    assert_eq!(base["explanation"]["base"], base["explanation"]["soup"]);
    server.until_metric("tureen_num_requests_waiting", 0.0).await;
}

#[tokio::test]
async fn a_stream_explains_in_its_last_event() {
    let server = Server::start().await;
    let mut body = explained(json!({"concise": 0.5, "friendly": 0.5}));
    let whole = server.generate(&body).await;
    body["stream"] = json!(true);
    let events = events(&server.post("/generate", &body).await.text().await.unwrap());
    let (last, before) = events.split_last().unwrap();
    assert_eq!(last.1["explanation"], whole["explanation"]);
    assert!(before.iter().all(|(_, event)| event.get("explanation").is_none()));
    body["explain"] = json!(false);
    body["stream"] = json!(false);
    assert!(server.generate(&body).await.get("explanation").is_none());
}

#[tokio::test]
async fn soups_without_a_gate_are_explained_too() {
    let server = Server::start().await;
    let mut body = explained(json!({"concise": 0.5, "friendly": 0.5}));
    body["merge"] = json!({"method": "ties"});
    let answer = server.generate(&body).await;
    assert_eq!(answer["soup"]["path"], "materialised");
    assert_eq!(answer["explanation"]["policies"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn explaining_is_bounded_before_anything_is_computed() {
    let server = Server::with(&[("LIMITS__MAX_EXPLAIN_TOKENS", "60")]).await;
    let mut body = explained(json!({"concise": 1}));
    body["parameters"]["max_new_tokens"] = json!(100);
    let (status, code, body) = problem(server.post("/generate", &body).await).await;
    assert_eq!((status, code.as_str(), &body["field"]), (422, "explain_too_large", &json!("explain")));
}
