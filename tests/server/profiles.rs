//! `/users`: profiles over HTTP.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::common::{Server, problem, short};

/// Sends `body` (none when null) with these headers.
async fn send(server: &Server, method: Method, path: &str, body: Value, headers: &[(&str, &str)]) -> Response {
    let mut request = server.http.request(method, server.url(path));
    if !body.is_null() {
        request = request.json(&body);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

const PROFILE: &str = "/users/u-17/profile";

async fn put(server: &Server, body: Value, headers: &[(&str, &str)]) -> Response {
    send(server, Method::PUT, PROFILE, body, headers).await
}

fn concise() -> Value {
    json!({"preference": {"concise": 1.0}})
}

fn etag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_profile_is_put_got_and_deleted() {
    let server = Server::start().await;
    let (status, code, _) = problem(server.get(PROFILE).await).await;
    assert_eq!((status, code.as_str()), (404, "unknown_user"));
    let created = put(&server, json!({"preference": {"concise": 0.6, "friendly": 0.4}}), &[]).await;
    assert_eq!(created.status(), 201);
    let tag = etag(&created);
    let body: Value = created.json().await.unwrap();
    assert_eq!(body["user"], "u-17");
    assert_eq!(body["preference"], json!({"concise": 0.6, "friendly": 0.4}));
    assert_eq!(body["merge"]["method"], "exact");
    assert_eq!(tag, format!("{:?}", body["etag"].as_str().unwrap()));
    let got = server.get(PROFILE).await;
    assert_eq!((got.status().as_u16(), etag(&got)), (200, tag.clone()));
    assert_eq!(got.json::<Value>().await.unwrap(), body);
    let known = send(&server, Method::GET, PROFILE, Value::Null, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status().as_u16(), etag(&known)), (304, tag.clone()));
    let updated = put(&server, concise(), &[]).await;
    assert_eq!(updated.status(), 200);
    assert_ne!(etag(&updated), tag);
    let gone = send(&server, Method::DELETE, PROFILE, Value::Null, &[]).await;
    assert_eq!(gone.status(), 204);
    assert_eq!(server.get(PROFILE).await.status(), 404);
    assert_eq!(send(&server, Method::DELETE, PROFILE, Value::Null, &[]).await.status(), 404);
}

#[tokio::test]
async fn preconditions_guard_every_change() {
    let server = Server::start().await;
    assert_eq!(put(&server, concise(), &[("if-match", "*")]).await.status(), 412, "there is none");
    assert_eq!(put(&server, concise(), &[("if-match", "\"0123\"")]).await.status(), 412);
    let created = put(&server, concise(), &[("if-none-match", "*")]).await;
    assert_eq!(created.status(), 201);
    let tag = etag(&created);
    let (status, code, _) = problem(put(&server, concise(), &[("if-none-match", "*")]).await).await;
    assert_eq!((status, code.as_str()), (412, "precondition_failed"));
    let updated = put(&server, concise(), &[("if-match", &format!("\"other\", {tag}"))]).await;
    assert_eq!(updated.status(), 200);
    let patch = json!({"preference": {"friendly": 1}});
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let body = if method == Method::DELETE { Value::Null } else { patch.clone() };
        let stale = send(&server, method.clone(), PROFILE, body, &[("if-match", &tag)]).await;
        assert_eq!(stale.status(), 412, "{method} with the tag of a state that is over");
    }
    let weak = format!("W/{}", etag(&updated));
    assert_eq!(put(&server, concise(), &[("if-match", &weak)]).await.status(), 412, "a weak tag says nothing here");
    let gone = send(&server, Method::DELETE, PROFILE, Value::Null, &[("if-match", &etag(&updated))]).await;
    assert_eq!(gone.status(), 204);
    assert_eq!(put(&server, concise(), &[("if-match", "no quotes")]).await.status(), 412, "no tag matches nothing");
}

#[tokio::test]
async fn of_two_who_know_the_same_state_one_wins() {
    let server = Server::start().await;
    let tag = etag(&put(&server, concise(), &[]).await);
    let condition = [("if-match", tag.as_str())];
    let writers = (0..8).map(|_| put(&server, concise(), &condition));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(writers).await.iter().map(|r| r.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 7]].concat());
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let server = Server::start().await;
    let patch = async |body: Value| send(&server, Method::PATCH, PROFILE, body, &[]).await;
    assert_eq!(patch(json!({})).await.status(), 404);
    put(&server, json!({"preference": {"concise": 0.5, "friendly": 0.5}, "merge": {"strength": 2.0}}), &[]).await;
    let body = r#"{"preference": {"friendly": null, "concise": 0.25}}"#;
    let request = server.http.patch(server.url(PROFILE)).header("content-type", "application/merge-patch+json");
    let patched: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    assert_eq!(patched["preference"], json!({"concise": 0.25}));
    assert_eq!(patched["merge"]["strength"], 2.0);
    let patched: Value = patch(json!({"merge": {"method": "factor", "strength": null}})).await.json().await.unwrap();
    assert_eq!(patched["preference"], json!({"concise": 0.25}));
    assert_eq!((&patched["merge"]["method"], &patched["merge"]["strength"]), (&json!("factor"), &json!(1.0)));
    let patched: Value = patch(json!({"preference": null, "merge": null})).await.json().await.unwrap();
    assert_eq!((&patched["preference"], &patched["merge"]["method"]), (&json!({}), &json!("exact")));
    let before: Value = server.get(PROFILE).await.json().await.unwrap();
    for (body, code) in [
        (json!({"preference": {"no-such": 1}}), "unknown_policy"),
        (json!({"preference": {"concise": 0}}), "zero_weights"),
        (json!({"preference": {"concise": -1}}), "invalid_preference"),
        (json!({"merge": {"strength": 9}}), "invalid_strength"),
        (json!({"merge": {"nonsense": 1}}), "invalid_field"),
        (json!({"nonsense": 1}), "invalid_field"),
    ] {
        let (status, got, problem) = problem(patch(body).await).await;
        assert_eq!((status, got.as_str()), (422, code), "{problem}");
    }
    assert_eq!(server.get(PROFILE).await.json::<Value>().await.unwrap(), before, "what is refused changes nothing");
}

#[tokio::test]
async fn what_the_pool_cannot_serve_is_not_stored() {
    let server = Server::start().await;
    for (body, code) in [
        (json!({}), "invalid_field"),
        (json!({"preference": {"no-such": 1}}), "unknown_policy"),
        (json!({"preference": {"concise": 1}, "merge": {"method": "slerp"}}), "method_needs_two_policies"),
        (json!({"preference": {"concise": 1}, "extra": 1}), "invalid_field"),
    ] {
        let (status, got, problem) = problem(put(&server, body, &[]).await).await;
        assert_eq!((status, got.as_str()), (422, code), "{problem}");
    }
    let duplicate = r#"{"preference": {"concise": 1, "concise": 0.5}}"#;
    let request = server.http.put(server.url(PROFILE)).header("content-type", "application/json").body(duplicate);
    assert_eq!(request.send().await.unwrap().status(), 422);
    assert_eq!(server.get(PROFILE).await.status(), 404);
    for name in ["%20", "a%0Ab", &"x".repeat(129), "a%20b"] {
        let response = send(&server, Method::PUT, &format!("/users/{name}/profile"), concise(), &[]).await;
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (422, "invalid_user"), "{name}");
    }
}

#[tokio::test]
async fn a_change_sent_again_is_answered_and_not_done_again() {
    let server = Server::start().await;
    let key = [("idempotency-key", "k-1")];
    let first = put(&server, concise(), &key).await;
    let (status, tag) = (first.status(), etag(&first));
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let body: Value = first.json().await.unwrap();
    put(&server, json!({"preference": {"friendly": 1.0}}), &[]).await;
    let again = put(&server, concise(), &key).await;
    assert_eq!((again.status(), etag(&again)), (status, tag));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), body);
    let now: Value = server.get(PROFILE).await.json().await.unwrap();
    assert_eq!(now["preference"], json!({"friendly": 1.0}));
    let (status, code, _) = problem(put(&server, json!({"preference": {}}), &key).await).await;
    assert_eq!((status, code.as_str()), (422, "idempotency_key_reused"));
    let (status, code, _) = problem(send(&server, Method::DELETE, PROFILE, Value::Null, &key).await).await;
    assert_eq!((status, code.as_str()), (422, "idempotency_key_reused"));
    for key in ["", &"x".repeat(256)] {
        assert_eq!(put(&server, concise(), &[("idempotency-key", key)]).await.status(), 400);
    }
}

#[tokio::test]
async fn generations_use_the_profile_as_it_is_now() {
    let server = Server::start().await;
    let mut by_user = short(json!({}));
    by_user.as_object_mut().unwrap().remove("preference");
    by_user["user"] = json!("u-17");
    let (status, code, unknown) = problem(server.post("/generate", &by_user).await).await;
    assert_eq!((status, code.as_str(), unknown["field"].as_str()), (404, "unknown_user", Some("user")));
    for (concise, friendly, strength) in [(0.6, 0.4, 1.0), (0.25, 0.75, 0.5), (1.0, 0.0, 2.0)] {
        let preference = json!({"concise": concise, "friendly": friendly});
        put(&server, json!({"preference": preference, "merge": {"strength": strength}}), &[]).await;
        let mut inline = short(preference);
        inline["merge"] = json!({"strength": strength});
        let inline = server.generate(&inline).await;
        let answer = server.generate(&by_user).await;
        assert_eq!(answer["soup"], inline["soup"]);
        assert_eq!(answer["generated_text"], inline["generated_text"]);
    }
    by_user["merge"] = json!({"strength": 0.5});
    assert_eq!(server.generate(&by_user).await["soup"]["strength"], 0.5, "the request's own options win");
    by_user["preference"] = json!({"concise": 1});
    let (status, code, refused) = problem(server.post("/generate", &by_user).await).await;
    assert_eq!((status, code.as_str(), refused["field"].as_str()), (422, "invalid_field", Some("user")));
    assert!(server.metric("tureen_profile_lookups_total{source=\"store\"}").await.unwrap() >= 3.0);
}

#[tokio::test]
async fn chat_knows_users_by_field_and_by_model() {
    let server = Server::start().await;
    put(&server, json!({"preference": {"concise": 0.6, "friendly": 0.4}}), &[]).await;
    let body = |more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "temperature": 0});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let mut soups = Vec::new();
    for more in [
        json!({"model": "soup:concise=0.6,friendly=0.4"}),
        json!({"model": "profile:u-17"}),
        json!({"user": "u-17"}),
        json!({"model": "tureen", "user": "u-17"}),
    ] {
        let answer: Value = server.post("/v1/chat/completions", &body(more)).await.json().await.unwrap();
        soups.push(answer["soup"].clone());
    }
    assert!(soups.windows(2).all(|two| two[0] == two[1] && two[0].is_object()), "{soups:#?}");
    for (more, status, code) in [
        (json!({"model": "profile:nobody"}), 404, "unknown_user"),
        (json!({"user": "nobody"}), 404, "unknown_user"),
        (json!({"model": "profile:"}), 422, "invalid_user"),
        (json!({"model": "profile:u-17", "user": "u-17"}), 422, "invalid_field"),
        (json!({"model": "profile:u-17", "preference": {"concise": 1}}), 422, "invalid_field"),
        (json!({"user": "u-17", "preference": {"concise": 1}}), 422, "invalid_field"),
    ] {
        let response = server.post("/v1/chat/completions", &body(more.clone())).await;
        let got = response.status().as_u16();
        let error: Value = response.json().await.unwrap();
        assert_eq!((got, error["error"]["code"].as_str()), (status, Some(code)), "{more}");
    }
}

#[tokio::test]
async fn users_are_listed_page_by_page() {
    let server = Server::start().await;
    for name in ["c", "a", "b%2F1", "d"] {
        send(&server, Method::PUT, &format!("/users/{name}/profile"), concise(), &[]).await;
    }
    let mut names = Vec::new();
    let mut path = "/users?limit=3".to_owned();
    loop {
        let page: Value = server.get(&path).await.json().await.unwrap();
        names.extend(page["users"].as_array().unwrap().iter().map(|u| u["user"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/users?limit=3&cursor={cursor}");
    }
    assert_eq!(names, ["a", "b/1", "c", "d"]);
    for (query, wanted) in [
        ("limit=0", "invalid_field"),
        ("limit=1001", "invalid_field"),
        ("limit=x", "invalid_field"),
        ("nonsense=1", "invalid_field"),
        ("cursor=%00", "invalid_user"),
    ] {
        let (status, code, _) = problem(server.get(&format!("/users?{query}")).await).await;
        assert_eq!((status, code.as_str()), (422, wanted), "{query}");
    }
}

#[tokio::test]
async fn a_user_is_exported_and_erased() {
    let server = Server::start().await;
    assert_eq!(server.get("/users/u-17/export").await.status(), 404);
    put(&server, concise(), &[("idempotency-key", "k")]).await;
    let export: Value = server.get("/users/u-17/export").await.json().await.unwrap();
    assert_eq!(export["profile"], server.get(PROFILE).await.json::<Value>().await.unwrap());
    let erase = async || -> Value {
        send(&server, Method::DELETE, "/users/u-17", Value::Null, &[]).await.json().await.unwrap()
    };
    assert_eq!(erase().await, json!({"profiles": 1, "changes": 1, "pairs": 0, "answers": 0, "reviews": 0}));
    assert_eq!(server.get(PROFILE).await.status(), 404);
    assert_eq!(erase().await, json!({"profiles": 0, "changes": 0, "pairs": 0, "answers": 0, "reviews": 0}));
}

#[tokio::test]
async fn a_foreign_profile_is_an_unknown_one() {
    let server = Server::locked().await;
    let scopes = "generate,profiles:read,profiles:write,admin";
    let (ours, theirs) = (server.key_of("ours", scopes).await, server.key_of("theirs", scopes).await);
    let send = async |key: &str, method: Method, path: &str, body: Value| {
        let request = server.http.request(method, server.url(path)).bearer_auth(key);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let (status, mut body) = (response.status().as_u16(), response.text().await.unwrap());
        if let Ok(mut json) = serde_json::from_str::<Value>(&body) {
            if let Some(fields) = json.as_object_mut() {
                fields.remove("request_id");
            }
            body = json.to_string();
        }
        (status, body)
    };
    assert_eq!(send(&ours, Method::PUT, PROFILE, concise()).await.0, 201);
    let generate = json!({"inputs": "hello", "user": "u-17", "parameters": {"max_new_tokens": 1}});
    let mut unknown = generate.clone();
    unknown["user"] = json!("nobody");
    for (method, path, body) in [
        (Method::GET, PROFILE, Value::Null),
        (Method::PATCH, PROFILE, json!({})),
        (Method::DELETE, PROFILE, Value::Null),
        (Method::GET, "/users/u-17/export", Value::Null),
        (Method::DELETE, "/users/u-17", Value::Null),
    ] {
        let foreign = send(&theirs, method.clone(), path, body.clone()).await;
        let nobody = send(&theirs, method.clone(), &path.replace("u-17", "nobody"), body).await;
        assert_eq!(foreign, nobody, "{method} {path}");
    }
    assert_eq!(
        send(&theirs, Method::POST, "/generate", generate.clone()).await,
        send(&theirs, Method::POST, "/generate", unknown).await
    );
    assert_eq!(send(&theirs, Method::GET, "/users", Value::Null).await.1, json!({"users": []}).to_string());
    assert_eq!(send(&theirs, Method::PUT, PROFILE, concise()).await.0, 201, "the name is free for them");
    assert_eq!(send(&theirs, Method::DELETE, "/users/u-17", Value::Null).await.0, 200);
    assert_eq!(send(&ours, Method::GET, PROFILE, Value::Null).await.0, 200, "ours is still there");
    assert_eq!(send(&ours, Method::POST, "/generate", generate).await.0, 200);
}

#[tokio::test]
async fn without_the_store_preferences_in_requests_are_served() {
    let server = Server::start().await;
    put(&server, concise(), &[]).await;
    server.app.store.as_ref().unwrap().close().await;
    server.generate(&short(json!({"concise": 1.0}))).await;
    for (method, body) in [(Method::PUT, concise()), (Method::DELETE, Value::Null)] {
        let begun = std::time::Instant::now();
        let response = send(&server, method.clone(), PROFILE, body, &[]).await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        assert!(response.headers().contains_key("retry-after"));
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (503, "store_unavailable"), "{method}");
    }
    assert_eq!(server.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn while_somebody_else_holds_the_store_changes_are_503_in_time_and_come_back() {
    let server = Server::with(&[("STORE__TIMEOUT_MS", "450")]).await;
    put(&server, concise(), &[]).await;
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", server.fixture.store().display());
    let other = sqlx::AnyPool::connect(&url).await.unwrap();
    for _ in 0..2 {
        let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let feedback = json!({"inputs": "a", "chosen": {"text": "this and"}, "rejected": {"text": "that"}});
        for (method, path, body) in [
            (Method::PUT, PROFILE, concise()),
            (Method::PATCH, PROFILE, json!({})),
            (Method::DELETE, PROFILE, Value::Null),
            (Method::DELETE, "/users/u-17", Value::Null),
            (Method::POST, "/users/u-17/feedback", feedback),
        ] {
            let begun = std::time::Instant::now();
            let response = send(&server, method.clone(), path, body, &[]).await;
            let took = begun.elapsed();
            assert!(response.headers().contains_key("retry-after"), "{method} {path}");
            let (status, code, _) = problem(response).await;
            assert_eq!((status, code.as_str()), (503, "store_unavailable"), "{method} {path}");
            assert!(took < std::time::Duration::from_secs(1), "{method} {path} took {took:?}");
        }
        server.generate(&short(json!({"concise": 1.0}))).await;
        // Readers do not wait for whoever writes.
        assert_eq!(server.get(PROFILE).await.status(), 200);
        lock.rollback().await.unwrap();
        server.until(async || put(&server, concise(), &[]).await.status() == 200).await;
    }
}

#[tokio::test]
async fn a_server_may_keep_no_profiles() {
    let server = Server::with(&[("STORE__URL", "")]).await;
    server.generate(&short(json!({"concise": 1.0}))).await;
    let (status, code, _) = problem(server.get(PROFILE).await).await;
    assert_eq!((status, code.as_str()), (409, "no_store"));
}
