//! Who gets the candidate, until everybody does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{drawn, know, leased, names, on, other_seed, publish, roll_out, served_by, state, with};
use crate::common::{Fixture, Server, problem, short};
use crate::process::run;

#[tokio::test]
async fn a_share_of_the_users_gets_the_candidate_and_keeps_it() {
    let (mut server, revision) = with(other_seed, &[]).await;
    let users = names(1000);
    know(&server, &users).await;
    let begun = roll_out(&server, json!({"revision": revision, "percent": 10})).await;
    assert_eq!((&begun["candidate"]["revision"], &begun["candidate"]["percent"]), (&json!(revision), &json!(10.0)));
    assert_ne!(begun["stable"], json!(revision));
    let chosen = served_by(&server, &users, &revision).await;
    // Five standard deviations of a binomial: 100 ± 5 · sqrt(1000 · 0.1 · 0.9).
    assert!((53..=147).contains(&chosen.len()), "{} of 1000", chosen.len());

    // Without the store it began on, another server begins with the stable revision, and chooses the same users when told.
    server.begin_shutdown();
    let fixture = server.stopped_leaving().await;
    std::fs::remove_file(fixture.store()).unwrap();
    let (server, again) = on(fixture, &[]).await;
    assert_eq!(again, revision);
    let some = &users[..100];
    know(&server, &users[..300]).await;
    assert!(served_by(&server, some, &revision).await.is_empty());
    roll_out(&server, json!({"revision": revision, "percent": 10})).await;
    let expected: BTreeSet<_> = some.iter().filter(|user| chosen.contains(*user)).cloned().collect();
    assert_eq!(served_by(&server, some, &revision).await, expected);

    // Whoever has it keeps it when the share grows.
    roll_out(&server, json!({"revision": revision, "percent": 40})).await;
    let grown = served_by(&server, &users[..300], &revision).await;
    assert!(users[..300].iter().filter(|user| chosen.contains(*user)).all(|user| grown.contains(user)));
    assert!((78..=162).contains(&grown.len()), "{} of 300", grown.len());
}

#[tokio::test]
async fn named_users_get_the_candidate_until_everybody_does() {
    let (server, revision) = with(other_seed, &[]).await;
    let users = names(6);
    know(&server, &users).await;
    let before = state(&server).await;
    let stable = before["stable"].as_str().unwrap().to_owned();
    assert_eq!((&before["candidate"], &before["last"]), (&Value::Null, &Value::Null));
    let begun = roll_out(&server, json!({"revision": revision, "users": ["u-1", "u-4", "nobody-yet"]})).await;
    assert_eq!((&begun["candidate"]["users"], &begun["candidate"]["percent"]), (&json!(3), &Value::Null));
    assert!(begun["candidate"]["bytes"].as_u64().unwrap() > 0);
    assert!(!begun.to_string().contains("u-4"), "users are counted, not shown");
    let named: BTreeSet<_> = ["u-1", "u-4"].map(String::from).into();
    assert_eq!(served_by(&server, &users, &revision).await, named);
    let inline = server.generate(&short(json!({"concise": 1}))).await;
    assert_eq!(inline["soup"]["revision"], json!(stable));
    // What clients are told of the pool is the stable revision.
    let pool: Value = server.get("/policies").await.json().await.unwrap();
    assert_eq!(pool["revision"], json!(stable));

    let promoted = roll_out(&server, json!({"revision": revision, "promote": true})).await;
    assert_eq!((&promoted["stable"], &promoted["candidate"]), (&json!(revision), &Value::Null));
    assert_eq!((&promoted["last"]["cause"], &promoted["last"]["revision"]), (&json!("promoted"), &json!(revision)));
    assert_eq!(served_by(&server, &users, &revision).await.len(), 6);
    server.until(async || leased(&server).await == 0.0).await;
    let (status, code, _) =
        problem(server.post("/admin/rollout", &json!({"revision": revision, "percent": 5})).await).await;
    assert_eq!((status, code.as_str()), (409, "revision_is_stable"));
    // The folder that a reload reads is still the old one.
    let reloaded: Value = server.post("/admin/pool/reload", &json!({})).await.json().await.unwrap();
    assert_eq!((&reloaded["revision"], &reloaded["previous"]), (&json!(stable), &json!(revision)));
    // All of the users at once are everybody.
    let promoted = roll_out(&server, json!({"revision": revision, "percent": 100})).await;
    assert_eq!((&promoted["stable"], &promoted["candidate"]), (&json!(revision), &Value::Null));
}

#[tokio::test]
async fn without_a_folder_of_its_own_the_candidate_is_the_pool_as_it_is_now() {
    let server = Server::start().await;
    let manifest = server.fixture.pool().join("pool.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + "# another revision\n").unwrap();
    let (_, _, body) = problem(server.post("/admin/rollout", &json!({"revision": "r-0", "promote": true})).await).await;
    let revision = body["detail"].as_str().unwrap().split(' ').next_back().unwrap();
    let done = roll_out(&server, json!({"revision": revision, "promote": true})).await;
    assert_eq!(done["stable"], revision);
    assert_eq!(server.generate(&short(json!({"concise": 1}))).await["soup"]["revision"], revision);

    let server = Server::with(&[("POOL__DIR", "")]).await;
    let (status, code, _) =
        problem(server.post("/admin/rollout", &json!({"revision": "r-0", "percent": 1})).await).await;
    assert_eq!((status, code.as_str()), (409, "no_pool"));
}

#[tokio::test]
async fn keys_are_users_where_no_user_is_named() {
    let fixture = Fixture::new();
    publish(&fixture, other_seed);
    let dir = fixture.dir.path().join("candidate").display().to_string();
    let server = Server::locked_on(fixture, &[("POOL__CANDIDATE_DIR", dir.as_str())]).await;
    let admin = server.key("admin").await;
    let post = async |body: Value| {
        let request = server.http.post(server.url("/admin/rollout")).bearer_auth(&admin);
        request.json(&body).send().await.unwrap()
    };
    let (_, _, body) = problem(post(json!({"revision": "r-0", "percent": 1})).await).await;
    let revision = body["detail"].as_str().unwrap().split(' ').next_back().unwrap();
    assert_eq!(post(json!({"revision": revision, "percent": 50})).await.status(), 200);
    let mut chosen = 0;
    for _ in 0..60 {
        let key = server.key("generate").await;
        let mut got = BTreeSet::new();
        for _ in 0..3 {
            let request = server.http.post(server.url("/generate")).bearer_auth(&key);
            let answer: Value = request.json(&short(json!({"concise": 1}))).send().await.unwrap().json().await.unwrap();
            got.insert(answer["soup"]["revision"] == revision);
        }
        assert_eq!(got.len(), 1, "a key stays where it is");
        chosen += usize::from(got.contains(&true));
    }
    // Five standard deviations: 30 ± 5 · sqrt(60 · 0.25).
    assert!((11..=49).contains(&chosen), "{chosen} of 60");
}

#[tokio::test]
async fn answers_of_the_candidate_are_recorded_and_can_be_made_again() {
    let fixture = Fixture::new();
    publish(&fixture, other_seed);
    let path = |name: &str| fixture.dir.path().join(name).display().to_string();
    let (candidate, audit) = (path("candidate"), path("audit"));
    let settings = [
        ("POOL__CANDIDATE_DIR", candidate.as_str()),
        ("AUDIT__DIR", audit.as_str()),
        ("AUDIT__KEY", "a secret that is long enough for one"),
    ];
    let (server, revision) = on(fixture, &settings).await;
    know(&server, &names(2)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-1"]})).await;
    let variables = server.fixture.variables(&settings);
    let (code, stdout, stderr) = run(&variables, &["check"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(&format!("candidate revision {revision}")), "{stdout}");
    let file = server.fixture.dir.path().join("prompt");
    std::fs::write(&file, "hello").unwrap();
    let replay = |id: &Value| {
        run(&variables, &["audit", "replay", id.as_str().unwrap(), "--prompt-file", file.to_str().unwrap()])
    };
    let mut answers = Vec::new();
    for user in ["u-0", "u-1"] {
        let answer = server.generate(&drawn(user, 3)).await;
        assert_eq!(answer["soup"]["revision"] == revision, user == "u-1");
        let (code, _, stderr) = replay(&answer["request_id"]);
        assert_eq!(code, 0, "{user}: {stderr}");
        answers.push(answer);
    }
    assert_ne!(answers[0]["generated_text"], answers[1]["generated_text"]);
    // A shadow is no answer: it leaves no record.
    roll_out(&server, json!({"revision": revision, "percent": 100, "shadow": true})).await;
    server.generate(&drawn("u-1", 3)).await;
    server.until_metric("tureen_rollout_shadows_total{outcome=\"finished\"}", 1.0).await;
    let log = std::fs::read_to_string(server.fixture.dir.path().join("audit/audit-00000001.jsonl")).unwrap();
    assert_eq!(log.matches("\"kind\":\"generation\"").count(), 3);
    // Published over: the revision is gone, and nothing is made up.
    std::fs::remove_dir_all(&candidate).unwrap();
    assert_eq!(replay(&answers[0]["request_id"]).0, 0);
    let (code, _, stderr) = replay(&answers[1]["request_id"]);
    assert_eq!(code, 78);
    assert!(stderr.contains(&revision), "{stderr}");
}
