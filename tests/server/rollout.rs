//! Two revisions side by side: who gets which, and how it ends.

mod refused;
mod restart;
mod rollback;
mod shadow;
mod share;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use picollama::{Base, PolicySpec, write_pool};
use serde_json::{Value, json};

use crate::common::{Fixture, Server, problem};

/// A pool with the same policies by name and other weights, in the candidate's folder.
fn publish(fixture: &Fixture, change: impl Fn(PolicySpec) -> PolicySpec) {
    let base = Base::llama();
    let written = base.write(&fixture.dir.path().join("again"));
    let specs = ["concise", "friendly"].map(|id| change(PolicySpec::lora(id)));
    write_pool(&fixture.dir.path().join("candidate"), &base, &written, &specs);
}

pub(crate) fn other_seed(spec: PolicySpec) -> PolicySpec {
    PolicySpec { seed: spec.seed + 100, ..spec }
}

/// Weights that are numbers, and overflow where they are multiplied.
fn broken(spec: PolicySpec) -> PolicySpec {
    PolicySpec { amplitude: 7e37, ..spec }
}

/// Nothing is rounded here that is no number.
const F32: (&str, &str) = ("ENGINE__PRECISION", "f32");

/// A server with a candidate on disk, and the candidate's revision.
pub(crate) async fn with(change: impl Fn(PolicySpec) -> PolicySpec, settings: &[(&str, &str)]) -> (Server, String) {
    let fixture = Fixture::new();
    publish(&fixture, change);
    on(fixture, settings).await
}

async fn on(fixture: Fixture, settings: &[(&str, &str)]) -> (Server, String) {
    let dir = fixture.dir.path().join("candidate").display().to_string();
    let server = Server::on(fixture, &[&[("POOL__CANDIDATE_DIR", dir.as_str())], settings].concat()).await;
    let (_, code, body) = problem(server.post("/admin/rollout", &json!({"revision": "?", "percent": 1})).await).await;
    assert_eq!(code, "other_revision");
    let revision = body["detail"].as_str().unwrap().split(' ').next_back().unwrap().to_owned();
    (server, revision)
}

/// `POST /admin/rollout` that must work.
async fn roll_out(server: &Server, body: Value) -> Value {
    let response = server.post("/admin/rollout", &body).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn state(server: &Server) -> Value {
    server.get("/admin/rollout").await.json().await.unwrap()
}

async fn take_back(server: &Server) -> Value {
    server.http.delete(server.url("/admin/rollout")).send().await.unwrap().json().await.unwrap()
}

/// Gives `users` profiles.
async fn know(server: &Server, users: &[String]) {
    stream::iter(users)
        .for_each_concurrent(8, async |user| {
            let request = server.http.put(server.url(&format!("/users/{user}/profile")));
            let profile = json!({"preference": {"concise": 1}, "merge": {"strength": 4}});
            let response = request.json(&profile).send().await.unwrap();
            assert!(response.status().is_success());
        })
        .await;
}

fn of(user: &str) -> Value {
    json!({"inputs": "hello", "user": user, "parameters": {"max_new_tokens": 1}})
}

/// Those of `users` whom `revision` answers.
async fn served_by(server: &Server, users: &[String], revision: &str) -> BTreeSet<String> {
    let served = stream::iter(users).map(async |user| {
        let answer = server.generate(&of(user)).await;
        (answer["soup"]["revision"] == revision).then(|| user.clone())
    });
    served.buffer_unordered(8).filter_map(async |user| user).collect().await
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("u-{i}")).collect()
}

/// Bytes that are leased for factors.
async fn leased(server: &Server) -> f64 {
    let stats = server.app.engine.stats();
    (stats.memory_used_bytes - stats.kv_cache_bytes) as f64 - stats.soup_cache_bytes as f64
}

/// Users' requests that are drawn, so that a bit more or less would show.
fn drawn(user: &str, seed: u32) -> Value {
    let parameters =
        json!({"max_new_tokens": 24, "ignore_eos": true, "temperature": 1.5, "seed": seed, "logprobs": true});
    json!({"inputs": "hello", "user": user, "parameters": parameters})
}
