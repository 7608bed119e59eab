//! A real server on PostgreSQL: what the database learns to log, and what is served while it is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::canary::{MARK, say};
use crate::cluster::Cluster;
use crate::common::{Fixture, PATIENCE, short};
use crate::document::{document, operations};
use crate::process::{Running, run};

/// Every route of the document that is about users, with its example as body, and the time it may take.
async fn every_profile_route_is_unavailable(url: &str) {
    let (http, document) = (reqwest::Client::new(), document());
    let mut asked = 0;
    for operation in operations(&document).iter().filter(|operation| operation.path.starts_with("/users")) {
        let path = operation.path.replace("{id}", "nobody-asked-before");
        let request = http.request(operation.method.clone(), format!("{url}{path}"));
        let request = match operation.body(&document) {
            Some(schema) => request.json(&schema["example"]),
            None => request,
        };
        let begun = Instant::now();
        let response = request.send().await.unwrap();
        let took = begun.elapsed();
        assert_eq!(response.status(), 503, "{} {path}", operation.method);
        assert!(response.headers().contains_key("retry-after"), "{} {path}", operation.method);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "store_unavailable");
        assert!(took < Duration::from_secs(1), "{} {path} took {took:?}", operation.method);
        asked += 1;
    }
    assert!(asked >= 9, "{asked}");
}

async fn generate(url: &str, body: &Value) -> u16 {
    reqwest::Client::new().post(format!("{url}/generate")).json(body).send().await.unwrap().status().as_u16()
}

#[test]
fn while_the_database_is_gone_preferences_in_requests_are_served_and_profiles_come_back() {
    let (mut cluster, fixture) = (Cluster::start(), Fixture::new());
    // Half of what it is by default, for machines that are busy testing.
    let settings = [("STORE__URL", cluster.url()), ("STORE__TIMEOUT_MS", "450".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = Running::start(&fixture.variables(&settings));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let put = async || {
        let profile = format!("{}/users/u/profile", server.url);
        let body = json!({"preference": {"concise": 1}});
        reqwest::Client::new().put(profile).json(&body).send().await.unwrap().status()
    };
    let by_user = json!({"inputs": "hello", "user": "u", "parameters": {"max_new_tokens": 1}});
    let inline = short(json!({"concise": 0.5, "friendly": 0.5}));
    assert_eq!(runtime.block_on(put()), 201);
    for _ in 0..2 {
        cluster.stop();
        runtime.block_on(async {
            every_profile_route_is_unavailable(&server.url).await;
            assert_eq!(generate(&server.url, &inline).await, 200);
            // The user's own may still be held, for a second.
            let other = json!({"inputs": "hello", "user": "nobody-asked-before"});
            assert_eq!(generate(&server.url, &other).await, 503);
            let ready = reqwest::get(format!("{}/readyz", server.url)).await.unwrap();
            assert_eq!(ready.status(), 200, "what it can do, it does");
        });
        cluster.run();
        runtime.block_on(async {
            let end = Instant::now() + PATIENCE;
            while put().await != 200 {
                assert!(Instant::now() < end, "it does not come back");
            }
            assert_eq!(generate(&server.url, &by_user).await, 200);
        });
    }
}

#[test]
fn the_databases_log_holds_nothing_that_was_said() {
    let (cluster, fixture) = (Cluster::start(), Fixture::new());
    let url = cluster.url();
    let settings = [("STORE__URL", url.as_str()), ("AUTH__REQUIRE_KEYS", "always"), ("LEARNING__PAIRS_DAYS", "30")];
    let variables = fixture.variables(&settings);
    let scopes = "generate,profiles:read,profiles:write,feedback,admin,metrics";
    let (code, key, stderr) = run(&variables, &["keys", "add", "--name", "all", "--scopes", scopes]);
    assert_eq!(code, 0, "{stderr}");
    let mut server = Running::start(&variables);
    let secrets = tokio::runtime::Runtime::new().unwrap().block_on(say(&server.url, key.trim()));
    server.kill();
    let log = cluster.log();
    assert!(log.contains("ready to accept connections"), "{log}");
    for secret in secrets.iter().map(String::as_str).chain([MARK]) {
        assert!(!log.contains(secret), "{secret:?} is in\n{log}");
    }
}
