//! A roll-out and the end of one, over a restart.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use picollama::PolicySpec;
use serde_json::{Value, json};

use super::{F32, broken, know, names, of, on, other_seed, publish, roll_out, served_by, state, take_back, with};
use crate::common::{Fixture, Server, problem};
use crate::process::Running;

/// The same server again, on what the last one left.
async fn restart(mut server: Server, settings: &[(&str, &str)]) -> Server {
    server.begin_shutdown();
    let fixture = server.stopped_leaving().await;
    let dir = fixture.dir.path().join("candidate").display().to_string();
    Server::on(fixture, &[&[("POOL__CANDIDATE_DIR", dir.as_str())], settings].concat()).await
}

/// Another revision in the place of the candidate.
fn publish_over(fixture: &Fixture) {
    std::fs::remove_dir_all(fixture.dir.path().join("candidate")).unwrap();
    publish(fixture, |spec| PolicySpec { seed: spec.seed + 200, ..spec });
}

#[test]
fn after_kill_9_the_same_users_get_the_candidate() {
    let fixture = Fixture::new();
    publish(&fixture, other_seed);
    let dir = fixture.dir.path().join("candidate").display().to_string();
    let variables = fixture.variables(&[("POOL__CANDIDATE_DIR", &dir)]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let http = reqwest::Client::new();
    let users = names(60);
    let post = async |url: &str, body: Value| -> Value {
        http.post(format!("{url}/admin/rollout")).json(&body).send().await.unwrap().json().await.unwrap()
    };
    let begin = async |url: &str| {
        let refused = post(url, json!({"revision": "?", "percent": 1})).await;
        let revision = refused["detail"].as_str().unwrap().split(' ').next_back().unwrap().to_owned();
        let known = stream::iter(&users).for_each_concurrent(8, async |user| {
            let profile = json!({"preference": {"concise": 1}});
            let put = http.put(format!("{url}/users/{user}/profile")).json(&profile);
            put.send().await.unwrap().error_for_status().unwrap();
        });
        known.await;
        revision
    };
    let served = async |url: &str, revision: &str| -> BTreeSet<String> {
        let served = stream::iter(&users).map(async |user| {
            let answer = http.post(format!("{url}/generate")).json(&of(user)).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            (answer["soup"]["revision"] == revision).then(|| user.clone())
        });
        served.buffer_unordered(8).filter_map(async |user| user).collect().await
    };
    let mut server = Running::start(&variables);
    let revision = runtime.block_on(begin(&server.url));
    for plan in [json!({"percent": 30}), json!({"users": ["u-3", "u-41"]})] {
        let mut body = plan.clone();
        body["revision"] = json!(revision);
        let before = runtime.block_on(async {
            let told = post(&server.url, body).await;
            assert_eq!(told["candidate"]["revision"], json!(revision), "{told}");
            (served(&server.url, &revision).await, told["candidate"]["since"].clone())
        });
        // Killed as soon as it is answered.
        server.kill();
        server = Running::start(&variables);
        runtime.block_on(async {
            assert_eq!(served(&server.url, &revision).await, before.0, "{plan}");
            let now: Value =
                http.get(format!("{}/admin/rollout", server.url)).send().await.unwrap().json().await.unwrap();
            assert_eq!((&now["candidate"]["revision"], &now["candidate"]["since"]), (&json!(revision), &before.1));
        });
        assert!(!before.0.is_empty() && before.0.len() < users.len(), "{plan}");
    }
    server.kill();
    // Who is named is kept, and not by name.
    for file in std::fs::read_dir(fixture.dir.path()).unwrap().map(|file| file.unwrap().path()) {
        assert!(!file.is_file() || !String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains("\"u-41\""));
    }
}

#[tokio::test]
async fn a_candidate_that_was_taken_back_does_not_come_again() {
    let settings = [("ROLLOUT__WINDOW", "20"), ("ROLLOUT__MIN_REQUESTS", "3"), F32];
    let (server, revision) = with(broken, &settings).await;
    know(&server, &names(1)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-0"]})).await;
    for _ in 0..3 {
        assert_eq!(problem(server.post("/generate", &of("u-0")).await).await.0, 500);
    }
    let last = state(&server).await["last"].clone();
    assert_eq!(last["cause"], "errors");
    // It is stored behind the answer's back, while the server runs.
    server.until(async || server.app.rollout.is_kept()).await;
    let server = restart(server, &settings).await;
    let now = state(&server).await;
    assert_eq!((&now["candidate"], &now["last"]), (&Value::Null, &last), "and it is still told why");
    server.generate(&of("u-0")).await;

    // By the operator, just before the end; and for everybody, which is an end as well.
    roll_out(&server, json!({"revision": revision, "users": ["u-0"], "shadow": true})).await;
    let server = restart(server, &settings).await;
    assert_eq!(state(&server).await["candidate"]["shadow"], true);
    take_back(&server).await;
    let server = restart(server, &settings).await;
    let now = state(&server).await;
    assert_eq!((&now["candidate"], &now["last"]["cause"]), (&Value::Null, &json!("operator")));
    roll_out(&server, json!({"revision": revision, "promote": true})).await;
    let server = restart(server, &settings).await;
    let now = state(&server).await;
    assert_eq!((&now["candidate"], &now["last"]["cause"]), (&Value::Null, &json!("promoted")));
}

#[tokio::test]
async fn without_its_revision_the_stable_one_serves_until_it_is_there_again() {
    let (server, revision) = with(other_seed, &[]).await;
    know(&server, &names(1)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-0"]})).await;
    publish_over(&server.fixture);
    let server = restart(server, &[]).await;
    let now = state(&server).await;
    assert_eq!((&now["candidate"], &now["last"]), (&Value::Null, &Value::Null));
    assert_eq!(server.generate(&of("u-0")).await["soup"]["revision"], now["stable"]);
    // Said in the log, and no reason not to start.
    let dir = server.fixture.dir.path().join("candidate").display().to_string();
    let variables = server.fixture.variables(&[("POOL__CANDIDATE_DIR", &dir)]);
    let mut process = Running::start(&variables);
    let log = process.read_log();
    process.terminate();
    assert_eq!(process.exit_code(), 0);
    let log = log.join().unwrap();
    let line = log.lines().find(|line| line.contains(&revision)).unwrap();
    assert!(
        line.contains("the folder holds revision") && line.contains("the stable revision serves everybody"),
        "{log}"
    );

    std::fs::remove_dir_all(&dir).unwrap();
    publish(&server.fixture, other_seed);
    let server = restart(server, &[]).await;
    assert_eq!(state(&server).await["candidate"]["revision"], json!(revision));
    assert_eq!(served_by(&server, &names(1), &revision).await.len(), 1);
    // What does not go on can be forgotten.
    publish_over(&server.fixture);
    let server = restart(server, &[]).await;
    take_back(&server).await;
    std::fs::remove_dir_all(&dir).unwrap();
    publish(&server.fixture, other_seed);
    let server = restart(server, &[]).await;
    assert_eq!(state(&server).await["candidate"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_stored_does_not_begin_and_ends_all_the_same() {
    let (server, revision) = with(other_seed, &[]).await;
    know(&server, &names(1)).await;
    let begun = roll_out(&server, json!({"revision": revision, "percent": 0})).await;
    server.app.store.as_ref().unwrap().close().await;
    let more = json!({"revision": revision, "users": ["u-0"]});
    let (status, code, _) = problem(server.post("/admin/rollout", &more).await).await;
    assert_eq!((status, code.as_str()), (503, "store_unavailable"));
    let now = state(&server).await;
    assert_eq!(now["candidate"]["percent"], begun["candidate"]["percent"], "it stays as it is");
    let (status, code, told) = problem(server.http.delete(server.url("/admin/rollout")).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (503, "store_unavailable"), "{told}");
    assert_eq!(state(&server).await["candidate"], Value::Null, "and it is taken back");
}

#[tokio::test]
async fn a_pool_that_is_the_candidate_now_serves_everybody() {
    let fixture = Fixture::new();
    publish(&fixture, other_seed);
    let (server, revision) = on(fixture, &[]).await;
    roll_out(&server, json!({"revision": revision, "percent": 30})).await;
    let pool = server.fixture.pool();
    std::fs::remove_dir_all(&pool).unwrap();
    std::fs::rename(server.fixture.dir.path().join("candidate"), &pool).unwrap();
    let server = restart(server, &[]).await;
    let now = state(&server).await;
    assert_eq!((&now["stable"], &now["candidate"]), (&json!(revision), &Value::Null));
}
