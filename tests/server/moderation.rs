//! `kind = "moderation"` against an endpoint of our own.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::common::{Fixture, Server, events, problem};
use crate::guard::{guarded, letters, said};

/// What the endpoint does.
#[derive(Clone, Default)]
struct Stub {
    /// Flags what holds this.
    flags: String,
    /// Answers with this instead.
    instead: Option<(u16, String)>,
    /// Never answers.
    silent: bool,
    /// What it was asked.
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Asked {
    body: Value,
    authorization: Option<String>,
}

impl Stub {
    fn flagging(text: &str) -> Self {
        Self { flags: text.to_owned(), ..Self::default() }
    }

    /// Serves on a free port and tells its URL.
    async fn serve(&self) -> String {
        let router = Router::new().route("/v1/moderations", post(answer)).with_state(self.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/moderations", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        tokio::spawn(axum_server::from_tcp(listener).unwrap().serve(router.into_make_service()));
        url
    }

    fn inputs(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.body["input"].as_str().unwrap().to_owned()).collect()
    }
}

async fn answer(State(stub): State<Stub>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let flagged = !stub.flags.is_empty() && body["input"].as_str().unwrap().contains(&stub.flags);
    stub.asked.lock().unwrap().push(Asked { body, authorization });
    if stub.silent {
        std::future::pending::<()>().await;
    }
    match stub.instead {
        Some((status, text)) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        None => Json(json!({
            "id": "modr-1", "model": "stub",
            "results": [{"flagged": flagged, "categories": {"violence": flagged, "other": false}, "category_scores": {}}]
        }))
        .into_response(),
    }
}

fn check(url: &str, more: &str) -> String {
    format!(r#"[{{name = "mod", kind = "moderation", endpoint = "{url}", {more}}}]"#)
}

fn body(text: &str) -> Value {
    json!({"inputs": text, "parameters": {"max_new_tokens": 1}})
}

#[tokio::test]
async fn a_flagged_prompt_is_blocked() {
    let stub = Stub::flagging("evil");
    let url = stub.serve().await;
    let server = guarded(&check(&url, r#"on = "input", action = "block", key = "sk-1", model = "m""#)).await;
    assert_eq!(server.post("/generate", &body("good")).await.status(), 200);
    let (status, code, _) = problem(server.post("/generate", &body("evil")).await).await;
    assert_eq!((status, code.as_str()), (422, "blocked_input"));
    let asked = stub.asked.lock().unwrap().clone();
    assert_eq!(asked[0].body, json!({"input": "good", "model": "m"}));
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer sk-1"));
}

#[tokio::test]
async fn only_the_named_categories_count() {
    let url = Stub::flagging("evil").serve().await;
    for (categories, wanted) in [(r#"["violence"]"#, 422), (r#"["other"]"#, 200), (r#"["unknown"]"#, 200)] {
        let server =
            guarded(&check(&url, &format!(r#"action = "block", on = "input", categories = {categories}"#))).await;
        assert_eq!(server.post("/generate", &body("evil")).await.status(), wanted, "{categories}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_lets_nothing_pass_unless_told_to() {
    let broken = [
        Stub { silent: true, ..Stub::default() },
        Stub { instead: Some((500, "{}".into())), ..Stub::default() },
        Stub { instead: Some((302, String::new())), ..Stub::default() },
        Stub { instead: Some((200, "no JSON".into())), ..Stub::default() },
        Stub { instead: Some((200, r#"{"results": []}"#.into())), ..Stub::default() },
        Stub { instead: Some((200, format!("{}{{}}", " ".repeat(1 << 20)))), ..Stub::default() },
    ];
    let mut urls = Vec::new();
    for stub in &broken {
        urls.push(stub.serve().await);
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    urls.push(format!("http://{gone}/v1/moderations"));
    for url in &urls {
        let server = guarded(&check(url, r#"action = "block", timeout_ms = 100"#)).await;
        let response = server.post("/generate", &body("x")).await;
        assert!(response.headers().contains_key("retry-after"));
        let (status, code, problem) = problem(response).await;
        assert_eq!((status, code.as_str()), (503, "guard_unavailable"), "{url}");
        assert!(!problem.to_string().contains(url), "{problem}");
        // The answer is not checked either, and nothing of it has left.
        let server = guarded(&check(url, r#"action = "block", on = "output", timeout_ms = 100"#)).await;
        for stream in [false, true] {
            let mut body = letters(20, 1);
            body["stream"] = json!(stream);
            let response = server.post("/generate", &body).await;
            assert_eq!(response.status(), 503, "{url}");
        }
        let server = guarded(&check(url, r#"action = "block", timeout_ms = 100, on_failure = "open""#)).await;
        assert_eq!(server.post("/generate", &body("x")).await.status(), 200, "{url}");
    }
}

#[tokio::test]
async fn checks_of_a_prompt_end_in_time() {
    let url = Stub { silent: true, ..Stub::default() }.serve().await;
    let checks = check(&url, r#"action = "block", on = "input", timeout_ms = 60000"#);
    let server = Server::with(&[("GUARD__CHECKS", &checks), ("SERVER__REQUEST_TIMEOUT_MS", "200")]).await;
    let (status, code, _) = problem(server.post("/generate", &body("x")).await).await;
    assert_eq!((status, code.as_str()), (504, "deadline_exceeded"));
}

#[tokio::test]
async fn an_answer_is_asked_about_before_it_leaves() {
    let (text, phrase, _) = said(200, 1).await;
    for (window, pieces) in [("", 1), (", window = 40", 5)] {
        let stub = Stub::flagging("never said");
        let url = stub.serve().await;
        let server = guarded(&check(&url, &format!(r#"action = "block", on = "output"{window}"#))).await;
        let mut body = letters(200, 1);
        body["stream"] = json!(true);
        let stream = server.post("/generate", &body).await.text().await.unwrap();
        let last = events(&stream).last().unwrap().1.clone();
        assert_eq!(last["generated_text"], json!(text));
        let asked = stub.inputs();
        assert_eq!(asked.len(), pieces);
        assert!(text.ends_with(asked.last().unwrap().as_str()), "with what stood before");
        assert_eq!(asked.concat().len() > text.len(), pieces > 1);

        let url = Stub::flagging(&phrase).serve().await;
        let server = guarded(&check(&url, &format!(r#"action = "block", on = "output"{window}"#))).await;
        let stream = server.post("/generate", &body).await.text().await.unwrap();
        let last = events(&stream).last().unwrap().1.clone();
        assert_eq!(last["details"]["finish_reason"], "content_filter");
        let left = last["generated_text"].as_str().unwrap();
        assert!(text.starts_with(left) && !left.contains(&phrase), "{left:?}");
        assert_eq!(left.len() % 40, 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_asked_costs_nothing_and_is_recorded() {
    let stub = Stub { silent: true, ..Stub::default() };
    let url = stub.serve().await;
    let checks = format!(
        r#"[{{name = "seen", kind = "regex", on = "output", action = "allow", patterns = ["[abd ]"]}},
            {{name = "mod", kind = "moderation", on = "output", action = "block", endpoint = "{url}", window = 5,
              timeout_ms = 60000}}]"#
    );
    let fixture = Fixture::new();
    let log = fixture.dir.path().join("audit").display().to_string();
    let settings = [
        ("GUARD__CHECKS", checks.as_str()),
        ("AUDIT__DIR", log.as_str()),
        ("AUDIT__KEY", "a secret that is long enough for one"),
    ];
    let server = Server::on(fixture, &settings).await;
    let request = server.http.post(server.url("/generate")).json(&letters(400, 1)).send();
    let asked = server.until(async || !stub.inputs().is_empty());
    tokio::select! {
        answered = request => panic!("{answered:?}"),
        () = asked => {}
    }
    server.until(async || server.app.engine.stats().running == 0).await;
    server.until_metric("tureen_request_success_total{finished_reason=\"abort\"}", 1.0).await;
    let found = || {
        let files = std::fs::read_dir(&log).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let all: String = files.collect();
        let mut records = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|record| record["kind"] == "generation")
    };
    server.until(async || found().is_some()).await;
    let record = found().unwrap();
    assert_eq!(record["answer"]["end"], "left");
    assert_eq!((&record["guard"][0]["check"], &record["guard"][0]["action"]), (&json!("seen"), &json!("allow")));
    assert!(record["guard"][0]["count"].as_u64().unwrap() >= 5, "{record}");
}
