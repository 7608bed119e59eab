//! The pool: shown, reloaded, kept.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Server, problem, short};

#[tokio::test]
async fn policies_are_shown() {
    let server = Server::start().await;
    let pool: Value = server.get("/policies").await.json().await.unwrap();
    assert!(pool["revision"].as_str().unwrap().starts_with("r-"));
    let ids: Vec<&str> = pool["policies"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["concise", "friendly"]);
    assert_eq!(pool["conflicts"].as_array().unwrap().len(), 2);
    assert!((pool["conflicts"][0][0].as_f64().unwrap() - 1.0).abs() < 1e-9);
    let one: Value = server.get("/policies/friendly").await.json().await.unwrap();
    assert_eq!(one["id"], "friendly");
    assert_eq!(one["revision"], pool["revision"]);
    assert!(one["norm"].as_f64().unwrap() > 0.0);
    assert_eq!(one["conflicts"]["concise"], pool["conflicts"][1][0]);
    let (status, code, problem) = problem(server.get("/policies/no-such").await).await;
    assert_eq!((status, code.as_str()), (404, "unknown_policy"));
    assert!(problem["detail"].as_str().unwrap().contains("concise"));
}

#[tokio::test]
async fn a_reload_swaps_and_a_broken_pool_stays_out() {
    let server = Server::start().await;
    let before: Value = server.get("/policies").await.json().await.unwrap();

    let same: Value = server.post("/admin/pool/reload", &json!({})).await.json().await.unwrap();
    assert_eq!((&same["changed"], &same["revision"]), (&json!(false), &before["revision"]));

    let manifest = server.fixture.pool().join("pool.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, good.replacen("[0-9a-f]", "", 1) + "\n[[policy]]\ncorrupt = true\n").unwrap();
    let (status, code, refused) = problem(server.post("/admin/pool/reload", &json!({})).await).await;
    assert_eq!((status, code.as_str()), (422, "pool_refused"));
    assert!(!refused["problems"].as_array().unwrap().is_empty());
    let still: Value = server.get("/policies").await.json().await.unwrap();
    assert_eq!(still["revision"], before["revision"]);
    server.generate(&short(json!({"concise": 1.0}))).await;

    fs::write(&manifest, good + "\n# another revision\n").unwrap();
    let swapped: Value = server.post("/admin/pool/reload", &json!({})).await.json().await.unwrap();
    assert_eq!((&swapped["changed"], &swapped["previous"]), (&json!(true), &before["revision"]));
    let answer = server.generate(&short(json!({"concise": 1.0}))).await;
    assert_eq!(answer["soup"]["revision"], swapped["revision"]);
}

#[tokio::test]
async fn reloads_under_load_never_mix_or_fail() {
    let server = Server::start().await;
    let manifest = server.fixture.pool().join("pool.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let body = short(json!({"concise": 0.5, "friendly": 0.5}));
    // The weights stay the same, so every revision must give the same text; the two revisions have two soup ids.
    let expected = server.generate(&body).await["generated_text"].clone();
    let load = async {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..60 {
            let answer = server.generate(&body).await;
            assert_eq!(answer["generated_text"], expected);
            let revision = answer["soup"]["revision"].as_str().unwrap().to_owned();
            let id = answer["soup"]["id"].clone();
            assert_eq!(*seen.entry(revision).or_insert_with(|| id.clone()), id, "one revision, one soup");
        }
        seen
    };
    let reloads = async {
        for i in 0..30 {
            fs::write(&manifest, format!("{good}{}", "\n# again".repeat(i % 2))).unwrap();
            assert_eq!(server.post("/admin/pool/reload", &json!({})).await.status(), 200);
        }
    };
    let (seen, ()) = tokio::join!(load, reloads);
    assert!(seen.len() <= 2, "{seen:?}");
}

#[tokio::test]
async fn admin_asks_for_its_token() {
    let server = Server::with(&[("ADMIN__TOKEN", "correct horse")]).await;
    let send = async |token: Option<&str>| {
        let request = server.http.post(server.url("/admin/pool/reload"));
        let request = token.map_or(request.try_clone().unwrap(), |t| request.header("authorization", t));
        request.send().await.unwrap()
    };
    for wrong in
        [None, Some("Bearer "), Some("Bearer correct hors"), Some("Bearer Correct Horse"), Some("correct horse")]
    {
        let (status, code, problem) = problem(send(wrong).await).await;
        assert_eq!((status, code.as_str()), (401, "unauthorized"), "{wrong:?}");
        assert!(!problem.to_string().contains("horse"));
    }
    assert_eq!(send(Some("Bearer correct horse")).await.status(), 200);
}

#[tokio::test]
async fn where_everyone_is_let_in_admin_is_for_loopback_alone() {
    // Bound to loopback in fact, but configured as open to everyone.
    let server = Server::with(&[("SERVER__BIND", "0.0.0.0:0"), ("AUTH__ALLOW_ANONYMOUS", "true")]).await;
    server.generate(&short(json!({}))).await;
    let (status, code, _) = problem(server.post("/admin/pool/reload", &json!({})).await).await;
    assert_eq!((status, code.as_str()), (401, "unauthorized"));
}

#[tokio::test]
async fn the_base_alone_can_be_served() {
    let server = Server::with(&[("POOL__DIR", "")]).await;
    let pool: Value = server.get("/policies").await.json().await.unwrap();
    assert_eq!(pool["policies"], json!([]));
    server.generate(&short(json!({}))).await;
    let (status, code, _) = problem(server.post("/generate", &short(json!({"concise": 1}))).await).await;
    assert_eq!((status, code.as_str()), (422, "unknown_policy"));
    let (status, code, _) = problem(server.post("/admin/pool/reload", &json!({})).await).await;
    assert_eq!((status, code.as_str()), (409, "no_pool"));
}
