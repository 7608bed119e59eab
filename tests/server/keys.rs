//! Keys: made, limited, revoked, and never shown again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tureen::auth::Key;
use tureen::config::Config;
use tureen::startup;
use tureen::store::{NewKey, Store};

use crate::common::{Fixture, PATIENCE, Server, long_stream, problem, short};
use crate::process::run;

async fn generate(server: &Server, key: &str) -> reqwest::Response {
    server.http.post(server.url("/generate")).bearer_auth(key).json(&short(json!({}))).send().await.unwrap()
}

#[tokio::test]
async fn a_key_is_made_works_and_is_revoked_while_the_server_runs() {
    let server = Server::locked().await;
    let variables = server.fixture.variables(&[]);
    let (code, key, stderr) = run(&variables, &["keys", "add", "--name", "laptop", "--scopes", "generate,metrics"]);
    assert_eq!(code, 0, "{stderr}");
    let key = key.trim();
    let id = key.split('_').nth(1).unwrap();
    assert!(stderr.contains(id) && !stderr.contains(key), "the key itself is on standard output alone");
    server.until(async || generate(&server, key).await.status() == 200).await;

    let (code, list, _) = run(&variables, &["keys", "list"]);
    assert_eq!(code, 0);
    let line = list.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("laptop") && line.contains("generate,metrics") && line.contains("works"), "{line}");
    assert!(!list.contains(&key[key.len() - 64..]));

    assert_eq!(run(&variables, &["keys", "revoke", id]).0, 0);
    let revoked = Instant::now();
    server.until(async || generate(&server, key).await.status() == 401).await;
    assert!(revoked.elapsed() < Duration::from_secs(10));
    assert_eq!(run(&variables, &["keys", "revoke", id]).0, 64, "it is no key any more");
    assert!(run(&variables, &["keys", "list"]).1.contains("revoked"));
}

#[tokio::test]
async fn the_store_holds_no_secret_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::locked().await;
    let key = server.key("generate").await;
    let secret = &key[key.len() - 64..];
    for entry in std::fs::read_dir(server.fixture.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", path.display());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn every_wrong_secret_is_refused() {
    let server = Server::locked().await;
    let key = server.key("generate").await;
    assert_eq!(generate(&server, &key).await.status(), 200);
    for at in [8, 23, 24, 40, key.len() - 1] {
        let mut wrong = key.clone().into_bytes();
        wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(generate(&server, &wrong).await.status(), 401, "{at}");
    }
    for wrong in [&key[..key.len() - 1], &format!("{key}0"), &key.to_uppercase(), "tureen__", "tureen_"] {
        assert_eq!(generate(&server, wrong).await.status(), 401, "{wrong}");
    }
}

#[tokio::test]
async fn too_many_requests_in_a_minute_are_429() {
    let server = Server::locked_with(&[("AUTH__RATE_PER_MINUTE", "3")]).await;
    let (key, other) = (server.key("generate").await, server.key("generate").await);
    for _ in 0..3 {
        assert_eq!(generate(&server, &key).await.status(), 200);
    }
    let response = generate(&server, &key).await;
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "one of three a minute comes back every 20 s, got {wait}");
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (429, "rate_limited"));
    assert_eq!(generate(&server, &other).await.status(), 200, "each key has a quota of its own");
    let chat = json!({"messages": [{"role": "user", "content": "a"}]});
    let chat = server.http.post(server.url("/v1/chat/completions")).bearer_auth(&key).json(&chat).send().await.unwrap();
    assert_eq!(chat.status(), 429);
    assert_eq!(chat.json::<Value>().await.unwrap()["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn a_stream_holds_its_place_until_it_ends() {
    let server = Server::locked_with(&[("AUTH__CONCURRENCY", "1")]).await;
    let key = server.key("generate").await;
    let stream = server.http.post(server.url("/generate")).bearer_auth(&key).json(&long_stream()).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let (status, code, _) = problem(generate(&server, &key).await).await;
    assert_eq!((status, code.as_str()), (429, "too_many_at_a_time"));
    drop(stream);
    server.until(async || generate(&server, &key).await.status() == 200).await;
}

#[tokio::test]
async fn where_keys_are_not_asked_for_other_peoples_keys_are_ignored() {
    let server = Server::start().await;
    assert_eq!(generate(&server, "unused").await.status(), 200);
    assert_eq!(generate(&server, "sk-0123").await.status(), 200);
    let wrong = format!("tureen_{}_{}", "0".repeat(16), "0".repeat(64));
    assert_eq!(generate(&server, &wrong).await.status(), 401, "a key of ours that does not work is no accident");
}

#[tokio::test]
async fn an_expired_key_is_none() {
    let server = Server::locked().await;
    let key = Key::generate();
    let new = NewKey {
        id: key.id().to_owned(),
        owner: "default".to_owned(),
        name: "old".to_owned(),
        secret_sha256: key.secret_sha256(),
        scopes: "generate".to_owned(),
        rate_per_minute: None,
        concurrency: None,
        rules: None,
        lasts_ms: Some(0),
    };
    server.app.store.as_ref().unwrap().add_key(new).await.unwrap();
    let later = server.key("generate").await;
    server.until(async || generate(&server, &later).await.status() == 200).await;
    assert_eq!(generate(&server, &key.reveal()).await.status(), 401);
    assert!(run(&server.fixture.variables(&[]), &["keys", "list"]).1.contains("expired"));
}

#[tokio::test]
async fn a_server_that_nobody_could_use_does_not_start() {
    let fixture = Fixture::new();
    let open = async |settings: &[(&str, &str)]| {
        let config = Config::load(None, fixture.variables(settings)).unwrap();
        startup::open_store(&config).await.map(drop)
    };
    let everywhere = ("SERVER__BIND", "0.0.0.0:0");
    for settings in [&[everywhere][..], &[("AUTH__REQUIRE_KEYS", "always")], &[everywhere, ("STORE__URL", "")]] {
        let failure = open(settings).await.unwrap_err();
        assert_eq!(failure.code(), 78);
        let message = failure.to_string();
        assert!(message.contains("tureen keys add") && message.contains("allow_anonymous"), "{message}");
    }
    open(&[]).await.unwrap();
    open(&[everywhere, ("ADMIN__TOKEN", "t")]).await.unwrap();
    open(&[everywhere, ("AUTH__ALLOW_ANONYMOUS", "true")]).await.unwrap();
    assert_eq!(run(&fixture.variables(&[]), &["keys", "add", "--name", "first"]).0, 0);
    open(&[everywhere]).await.unwrap();
}

#[tokio::test]
async fn keys_go_on_working_when_the_store_is_gone() {
    let server = Server::locked().await;
    let key = server.key("generate").await;
    assert_eq!(generate(&server, &key).await.status(), 200);
    server.app.store.as_ref().unwrap().close().await;
    assert_eq!(generate(&server, &key).await.status(), 200);
}

#[test]
fn what_cannot_be_a_key_is_wrong_usage() {
    let fixture = Fixture::new();
    let variables = fixture.variables(&[]);
    for arguments in
        [&["keys", "add"][..], &["keys", "add", "--name", ""], &["keys", "add", "--name", "a", "--scopes", "x"]]
    {
        assert_eq!(run(&variables, arguments).0, 64, "{arguments:?}");
    }
    let (code, _, stderr) = run(&fixture.variables(&[("STORE__URL", "")]), &["keys", "list"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("[store] url"), "{stderr}");
    let (code, _, stderr) = run(&fixture.variables(&[("STORE__URL", "mysql://u:canary@h/d")]), &["keys", "list"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("sqlite://") && !stderr.contains("canary"), "{stderr}");
}

#[tokio::test]
async fn a_damaged_store_is_refused() {
    let fixture = Fixture::new();
    let config = Config::load(None, fixture.variables(&[])).unwrap();
    Store::open(&config.store).await.unwrap().unwrap().close().await;
    let mut bytes = std::fs::read(fixture.store()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(fixture.store(), bytes).unwrap();
    let opened = tokio::time::timeout(PATIENCE, Store::open(&config.store)).await.unwrap();
    assert!(opened.is_err());
}
