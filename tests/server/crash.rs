//! What was acknowledged survives `kill -9`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::Fixture;
use crate::process::Running;

const WRITERS: usize = 50;

/// TUREEN_CRASH_ROUNDS=200 for a long run.
fn rounds() -> u64 {
    std::env::var("TUREEN_CRASH_ROUNDS").map_or(3, |n| n.parse().unwrap())
}

/// Writes the profile of one user again and again, and notes the tag of each acknowledged write before it begins the
/// next one. Ends when the server is gone.
async fn write(url: &str, user: usize, acknowledged: &Mutex<HashMap<usize, String>>) {
    let http = reqwest::Client::new();
    let path = format!("{url}/users/u-{user}/profile");
    let preferences = [json!({"preference": {"concise": 1}}), json!({"preference": {"friendly": 1}})];
    for body in preferences.iter().cycle() {
        let Ok(response) = http.put(&path).json(body).send().await else { return };
        if response.status().is_success() {
            let etag = response.headers()["etag"].to_str().unwrap().to_owned();
            acknowledged.lock().unwrap().insert(user, etag);
        }
    }
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let fixture = Fixture::new();
    let variables = fixture.variables(&[("STORE__TIMEOUT_MS", "30000")]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let acknowledged = Mutex::new(HashMap::new());
    let mut written = 0;
    for round in 0..rounds() {
        let mut server = Running::start(&variables);
        let url = server.url.clone();
        runtime.block_on(async {
            let writers = futures_util::future::join_all((0..WRITERS).map(|user| write(&url, user, &acknowledged)));
            let kill = async {
                // Each round at another moment of the writing.
                tokio::time::sleep(Duration::from_millis(150 + 37 * (round % 16))).await;
                server.kill();
            };
            tokio::join!(writers, kill);
        });
        let mut server = Running::start(&variables);
        let acknowledged = acknowledged.lock().unwrap();
        written += acknowledged.len();
        runtime.block_on(async {
            for (user, etag) in acknowledged.iter() {
                let response = reqwest::get(format!("{}/users/u-{user}/profile", server.url)).await.unwrap();
                assert_eq!(response.status(), 200, "u-{user} is lost in round {round}");
                let found = response.headers()["etag"].to_str().unwrap().to_owned();
                let body: Value = response.json().await.unwrap();
                // A write whose answer was cut off may have come through after the acknowledged one: tags are UUIDs
                // that begin with their time, so later ones are greater.
                assert!(found >= *etag, "u-{user}: {found} is older than the acknowledged {etag}: {body}");
            }
        });
        server.kill();
    }
    assert!(written > 0, "the writers came to write");
}
