//! What checks hold, and what people decide about it.

use serde_json::{Value, json};

use crate::common::{Fixture, Server, events, problem};
use crate::guard::{letters, said};
use crate::process::{Running, run};

fn hold(on: &str, phrase: &str) -> String {
    format!(r#"[{{name = "ask", kind = "words", on = "{on}", action = "hold", words = ["{phrase}"]}}]"#)
}

async fn json(response: reqwest::Response) -> Value {
    let status = response.status();
    let body = response.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

async fn pending(server: &Server) -> Vec<Value> {
    json(server.get("/admin/reviews").await).await["reviews"].as_array().unwrap().clone()
}

async fn decide(server: &Server, id: &Value, decision: &str) -> reqwest::Response {
    let path = format!("/admin/reviews/{}", id.as_str().unwrap());
    server.post(&path, &json!({"decision": decision})).await
}

#[tokio::test]
async fn a_held_answer_leaves_when_a_person_approves_it() {
    let (text, phrase, _) = said(200, 1).await;
    let server = Server::with(&[("GUARD__CHECKS", &hold("output", &phrase))]).await;
    let mut body = letters(200, 1);
    let response = server.post("/generate", &body).await;
    assert_eq!(response.status(), 202);
    let place = response.headers()["location"].to_str().unwrap().to_owned();
    let held: Value = response.json().await.unwrap();
    assert_eq!((&held["generated_text"], &held["details"]["finish_reason"]), (&json!(""), &json!("held")));
    assert_eq!(held["review"]["status"], "pending");
    assert_eq!(place, format!("/reviews/{}", held["review"]["id"].as_str().unwrap()));
    let state = json(server.get(&place).await).await;
    assert_eq!(
        (&state["status"], &state["side"], state.get("generated_text")),
        (&json!("pending"), &json!("output"), None)
    );
    assert_eq!(state["request_id"], held["request_id"]);

    body["stream"] = json!(true);
    let response = server.post("/generate", &body).await;
    assert_eq!(response.status(), 200);
    let events = events(&response.text().await.unwrap());
    assert_eq!(events.len(), 1, "nothing but the end: {events:?}");
    let last = &events[0].1;
    assert_eq!((&last["token"]["text"], &last["generated_text"]), (&json!(""), &json!("")));
    assert_eq!(last["details"]["finish_reason"], "held");

    let waiting = pending(&server).await;
    assert_eq!(
        waiting.iter().map(|review| &review["id"]).collect::<Vec<_>>(),
        [&held["review"]["id"], &last["review"]["id"]]
    );
    assert_eq!((&waiting[0]["generated_text"], &waiting[0]["checks"]), (&json!(text), &json!(["ask"])));
    assert_eq!(waiting[0]["messages"], json!([{"role": "user", "content": "hello"}]));
    assert!(waiting[0].get("user").is_none());
    let page = json(server.get("/admin/reviews?limit=1").await).await;
    let next =
        json(server.get(&format!("/admin/reviews?cursor={}", page["next_cursor"].as_str().unwrap())).await).await;
    assert_eq!((&page["reviews"][0], &next["reviews"][0]), (&waiting[0], &waiting[1]));
    assert!(next.get("next_cursor").is_none());

    let decided = json(decide(&server, &held["review"]["id"], "approve").await).await;
    assert_eq!(decided["status"], "approved");
    assert_eq!(json(server.get(&place).await).await["generated_text"], json!(text));
    assert_eq!(
        json(decide(&server, &held["review"]["id"], "approve").await).await["decided_at_ms"],
        decided["decided_at_ms"]
    );
    let (status, code, _) = problem(decide(&server, &held["review"]["id"], "reject").await).await;
    assert_eq!((status, code.as_str()), (409, "review_decided"));
    assert_eq!(json(decide(&server, &last["review"]["id"], "reject").await).await["status"], "rejected");
    let refused = json(server.get(&format!("/reviews/{}", last["review"]["id"].as_str().unwrap())).await).await;
    assert_eq!((&refused["status"], refused.get("generated_text")), (&json!("rejected"), None));
    assert_eq!(pending(&server).await.len(), 0);
    assert_eq!(
        json(server.get("/admin/reviews?status=approved").await).await["reviews"][0]["id"],
        held["review"]["id"]
    );
}

#[tokio::test]
async fn a_chat_that_is_held_has_the_shape_of_a_completion() {
    let (_, phrase, _) = said(200, 1).await;
    let server = Server::with(&[("GUARD__CHECKS", &hold("output", &phrase))]).await;
    let parameters = letters(200, 1)["parameters"].clone();
    let mut body = json!({
        "messages": [{"role": "user", "content": "hello"}], "max_tokens": 200, "temperature": 2.0, "seed": 1,
        "logit_bias": parameters["logit_bias"]
    });
    let response = server.post("/v1/chat/completions", &body).await;
    assert_eq!(response.status(), 202);
    let held: Value = response.json().await.unwrap();
    let choice = &held["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(""), &json!("content_filter")));
    assert_eq!(held["review"]["status"], "pending");
    body["stream"] = json!(true);
    let events = events(&server.post("/v1/chat/completions", &body).await.text().await.unwrap());
    let said: String =
        events.iter().filter_map(|(_, chunk)| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "");
    assert_eq!(events.iter().filter(|(_, chunk)| chunk["review"]["id"].is_string()).count(), 1);
}

#[tokio::test]
async fn what_nobody_holds_leaves_at_the_end() {
    let checks = hold("output", "never said");
    let server = Server::with(&[("GUARD__CHECKS", &checks)]).await;
    let plain = Server::start().await;
    let mut body = letters(50, 3);
    body["stream"] = json!(true);
    let mut all = Vec::new();
    for server in [&server, &plain] {
        let mut events = events(&server.post("/generate", &body).await.text().await.unwrap());
        events.last_mut().unwrap().1["request_id"] = Value::Null;
        all.push(events);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_blocked_answer_is_blocked_though_another_check_holds() {
    let (_, phrase, _) = said(200, 1).await;
    let checks = format!(
        r#"[{{name = "ask", kind = "words", on = "output", action = "hold", words = ["{phrase}"]}},
            {{name = "no", kind = "words", on = "output", action = "block", words = ["{phrase}"]}}]"#
    );
    let server = Server::with(&[("GUARD__CHECKS", &checks)]).await;
    let answer = server.generate(&letters(200, 1)).await;
    assert_eq!(
        (&answer["generated_text"], &answer["details"]["finish_reason"]),
        (&json!(""), &json!("content_filter"))
    );
    assert_eq!(pending(&server).await.len(), 0);
}

#[tokio::test]
async fn a_held_prompt_passes_once_a_person_approved_it() {
    let server = Server::with(&[("GUARD__CHECKS", &hold("input", "delicate")), ("GUARD__MAX_REVIEWS", "2")]).await;
    let body = |text: &str| json!({"inputs": text, "parameters": {"max_new_tokens": 1}});
    let mut ids = Vec::new();
    for text in ["a delicate thing", "another Delicate thing", "a delicate thing"] {
        let (status, code, problem) = problem(server.post("/generate", &body(text)).await).await;
        assert_eq!((status, code.as_str()), (403, "held_for_review"));
        ids.push(problem["review_id"].clone());
    }
    assert_eq!(ids[0], ids[2], "the same prompt is held once");
    let (status, code, _) = problem(server.post("/generate", &body("a third delicate thing")).await).await;
    assert_eq!((status, code.as_str()), (503, "reviews_full"));
    let chat = json!({"messages": [{"role": "user", "content": "a delicate thing"}], "max_tokens": 1});
    let refused = server.post("/v1/chat/completions", &chat).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["review_id"], ids[0]);
    decide(&server, &ids[0], "approve").await.error_for_status().unwrap();
    decide(&server, &ids[1], "reject").await.error_for_status().unwrap();
    assert_eq!(server.post("/generate", &body("a delicate thing")).await.status(), 200);
    let (status, code, _) = problem(server.post("/generate", &body("another Delicate thing")).await).await;
    assert_eq!((status, code.as_str()), (422, "blocked_input"));
    assert_eq!(server.post("/generate", &body("nothing")).await.status(), 200);
    let (status, code, _) = problem(server.post("/generate", &body(&"delicate ".repeat(2000))).await).await;
    assert_eq!((status, code.as_str()), (422, "prompt_too_long"), "what cannot be answered is not held");
    assert_eq!(json(server.get(&format!("/reviews/{}", ids[0].as_str().unwrap())).await).await["status"], "approved");
}

#[tokio::test]
async fn reviews_of_another_owner_are_unknown_ones() {
    let server = Server::locked_with(&[("GUARD__CHECKS", &hold("input", "delicate"))]).await;
    let (ours, theirs) =
        (server.key_of("ours", "generate,admin").await, server.key_of("theirs", "generate,admin").await);
    let send = |key: &str, request: reqwest::RequestBuilder| request.bearer_auth(key).send();
    let ask = server.http.post(server.url("/generate")).json(&json!({"inputs": "delicate"}));
    let (_, _, held) = problem(send(&ours, ask).await.unwrap()).await;
    let id = held["review_id"].as_str().unwrap();
    let (own, admin) = (server.url(&format!("/reviews/{id}")), server.url(&format!("/admin/reviews/{id}")));
    let approve = || server.http.post(&admin).json(&json!({"decision": "approve"}));
    assert_eq!(send(&theirs, server.http.get(&own)).await.unwrap().status(), 404);
    assert_eq!(send(&theirs, approve()).await.unwrap().status(), 404);
    let list = json(send(&theirs, server.http.get(server.url("/admin/reviews"))).await.unwrap()).await;
    assert_eq!(list, json!({"reviews": []}));
    assert_eq!(json(send(&ours, server.http.get(&own)).await.unwrap()).await["status"], "pending");
    let decided = json(send(&ours, approve()).await.unwrap()).await;
    assert!(ours.contains(decided["decided_by"].as_str().unwrap()), "{decided}");
    for path in ["/reviews/%00", "/reviews/0123", "/reviews/%FF"] {
        assert_eq!(send(&ours, server.http.get(server.url(path))).await.unwrap().status(), 404, "{path}");
    }
    for query in ["status=x", "limit=0", "limit=101", "cursor=%00", "nonsense=1"] {
        let list = server.http.get(server.url(&format!("/admin/reviews?{query}")));
        assert_eq!(send(&ours, list).await.unwrap().status(), 422, "{query}");
    }
    for body in [json!({}), json!({"decision": "maybe"}), json!({"decision": "approve", "x": 1})] {
        assert_eq!(send(&ours, server.http.post(&admin).json(&body)).await.unwrap().status(), 422, "{body}");
    }
}

#[tokio::test]
async fn what_is_held_of_a_user_is_exported_and_erased_with_them() {
    let server = Server::with(&[("GUARD__CHECKS", &hold("input", "delicate"))]).await;
    let put = server.http.put(server.url("/users/u-17/profile")).json(&json!({"preference": {"concise": 1}}));
    put.send().await.unwrap().error_for_status().unwrap();
    for body in [json!({"inputs": "delicate", "user": "u-17"}), json!({"inputs": "delicate too"})] {
        assert_eq!(server.post("/generate", &body).await.status(), 403);
    }
    let export = json(server.get("/users/u-17/export").await).await;
    assert_eq!((&export["reviews"][0]["user"], export["reviews"].as_array().unwrap().len()), (&json!("u-17"), 1));
    assert_eq!(export["reviews"][0]["messages"][0]["content"], "delicate");
    let erased = json(server.http.delete(server.url("/users/u-17")).send().await.unwrap()).await;
    assert_eq!((&erased["profiles"], &erased["reviews"]), (&json!(1), &json!(1)));
    assert_eq!(pending(&server).await.len(), 1);
    assert_eq!(server.get("/users/u-17/export").await.status(), 404);
}

#[tokio::test]
async fn old_reviews_are_forgotten() {
    let server = Server::with(&[("GUARD__CHECKS", &hold("input", "delicate"))]).await;
    assert_eq!(server.post("/generate", &json!({"inputs": "delicate"})).await.status(), 403);
    let store = server.app.store.as_ref().unwrap();
    assert_eq!(store.forget_reviews(60_000).await.unwrap(), 0);
    assert_eq!(store.forget_reviews(-60_000).await.unwrap(), 1);
    assert_eq!(pending(&server).await.len(), 0);
}

/// Held, killed, started again, decided: the decision is in the audit log, which verifies.
#[test]
fn what_is_held_survives_kill_9_and_the_decision_is_audited() {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (text, phrase, _) = runtime.block_on(said(200, 1));
    let (checks, log) = (hold("both", &phrase), fixture.dir.path().join("audit").display().to_string());
    let variables = fixture.variables(&[
        ("GUARD__CHECKS", &checks),
        ("AUDIT__DIR", &log),
        ("AUDIT__KEY", "a secret that is long enough for one"),
    ]);
    let http = reqwest::Client::new();
    let post = |server: &Running, path: &str, body: &Value| -> (u16, Value) {
        runtime.block_on(async {
            let response = http.post(format!("{}{path}", server.url)).json(body).send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap())
        })
    };
    let get = |server: &Running, path: &str| -> Value {
        let sent = http.get(format!("{}{path}", server.url)).send();
        runtime.block_on(async { sent.await.unwrap().json().await.unwrap() })
    };
    let mut server = Running::start(&variables);
    let (status, answer) = post(&server, "/generate", &letters(200, 1));
    assert_eq!(status, 202, "{answer}");
    let (status, prompt) = post(&server, "/generate", &json!({"inputs": phrase}));
    assert_eq!(status, 403, "{prompt}");
    server.kill();

    let mut server = Running::start(&variables);
    let waiting = get(&server, "/admin/reviews");
    assert_eq!(waiting["reviews"].as_array().unwrap().len(), 2);
    let answer_id = answer["review"]["id"].as_str().unwrap();
    for (id, decision) in [(answer_id, "approve"), (prompt["review_id"].as_str().unwrap(), "reject")] {
        let (status, decided) = post(&server, &format!("/admin/reviews/{id}"), &json!({"decision": decision}));
        assert_eq!(status, 200, "{decided}");
    }
    assert_eq!(get(&server, &format!("/reviews/{answer_id}"))["generated_text"], json!(text));
    server.kill();

    assert_eq!(run(&variables, &["audit", "verify"]).0, 0);
    let segment = std::fs::read_dir(&log).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let all: String = segment.collect();
    let records: Vec<Value> = all.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let generation = of("generation")[0];
    assert_eq!(generation["answer"]["end"], "held");
    assert_eq!(generation["guard"], json!([{"check": "ask", "side": "output", "action": "hold", "count": 1}]));
    assert_ne!(generation["answer"]["sent_fingerprint"], generation["answer"]["text_fingerprint"]);
    let decisions = of("review");
    assert_eq!(decisions.len(), 2);
    assert_eq!((&decisions[0]["review"], &decisions[0]["decision"]), (&json!(answer_id), &json!("approved")));
    assert_eq!((&decisions[0]["request"], &decisions[0]["checks"]), (&generation["request"], &json!(["ask"])));
    assert_eq!(decisions[0]["text_fingerprint"], generation["answer"]["text_fingerprint"]);
    assert_eq!((&decisions[1]["decision"], &decisions[1]["side"]), (&json!("rejected"), &json!("input")));
    assert!(!all.contains(&phrase), "no text of anybody's");
}

#[tokio::test]
async fn a_server_without_a_store_has_no_reviews() {
    let server = Server::with(&[("STORE__URL", "")]).await;
    let (status, code, _) = problem(server.get("/admin/reviews").await).await;
    assert_eq!((status, code.as_str()), (409, "no_store"));
}
