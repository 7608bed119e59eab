//! The audit log of a server: what is in it, what is not, and making answers again.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Fixture, PATIENCE, Server, events, long_stream, problem, short};
use crate::process::{Running, run};

const KEY: (&str, &str) = ("AUDIT__KEY", "a secret that is long enough for one");

pub(crate) fn dir(fixture: &Fixture) -> PathBuf {
    fixture.dir.path().join("audit")
}

/// A server with an audit log, and these settings.
pub(crate) async fn audited(settings: &[(&str, &str)]) -> Server {
    let fixture = Fixture::new();
    let path = dir(&fixture).display().to_string();
    Server::on(fixture, &[&[("AUDIT__DIR", path.as_str()), KEY], settings].concat()).await
}

pub(crate) fn variables(fixture: &Fixture, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let path = dir(fixture).display().to_string();
    fixture.variables(&[&[("AUDIT__DIR", path.as_str()), KEY], settings].concat())
}

/// Every byte of the log.
pub(crate) fn text(fixture: &Fixture) -> String {
    // A checkpoint that is just being replaced is gone under its first name.
    let files = std::fs::read_dir(dir(fixture)).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()));
    files.filter(|text| !text.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound)).map(Result::unwrap).collect()
}

/// The records of one kind.
pub(crate) fn records_of(fixture: &Fixture, kind: &str) -> Vec<Value> {
    let text = text(fixture);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|record| record["kind"] == kind).collect()
}

/// The records of answers.
fn records(fixture: &Fixture) -> Vec<Value> {
    records_of(fixture, "generation")
}

#[tokio::test]
async fn an_answer_leaves_what_it_was_made_of() {
    let server = audited(&[("RULES__WEIGHTS", "concise >= 0.25"), ("RULES__OUTSIDE", "project")]).await;
    let mut body = short(json!({"friendly": 1}));
    body["parameters"]["seed"] = json!(7);
    let answer = server.generate(&body).await;
    // The record is there when the answer is.
    let found = records(&server.fixture);
    assert_eq!(found.len(), 1);
    let record = &found[0];
    assert_eq!(record["request"], answer["request_id"]);
    assert_eq!((&record["key"], &record["user"]), (&Value::Null, &Value::Null));
    assert_eq!(record["revision"], answer["soup"]["revision"]);
    assert_eq!(record["soup"]["id"], answer["soup"]["id"]);
    assert_eq!(record["soup"]["weights"], "concise=0.25,friendly=0.75");
    assert_eq!(record["asked"]["weights"], "friendly=1.0");
    assert_eq!(record["rules"], json!(["weight_below_rule"]));
    assert_eq!((&record["path"], &record["soup"]["method"]), (&json!("gate"), &json!("exact")));
    assert_eq!((&record["parameters"]["seed"], &record["parameters"]["max_new_tokens"]), (&json!(7), &json!(4)));
    assert_eq!(record["engine"]["isa"], server.app.engine.isa());
    assert_eq!(record["engine"]["precision"], "int8");
    assert_eq!((&record["answer"]["end"], &record["answer"]["tokens"]), (&json!("length"), &json!(4)));
    assert_eq!(record["prompt_tokens"], answer["details"]["prompt_tokens"]);
}

#[tokio::test]
async fn people_and_what_they_say_are_in_it_only_if_wanted() {
    for wanted in ["false", "true"] {
        let server = audited(&[("AUDIT__TEXT", wanted)]).await;
        let put = |user: &str| {
            let body = json!({"preference": {"concise": 1}});
            server.http.put(server.url(&format!("/users/{user}/profile"))).json(&body).send()
        };
        for user in ["canary-user", "other-user"] {
            put(user).await.unwrap().error_for_status().unwrap();
        }
        let mut answers = Vec::new();
        for user in ["canary-user", "canary-user", "other-user"] {
            let body = json!({
                "inputs": "canary-prompt", "user": user,
                "parameters": {"max_new_tokens": 4, "ignore_eos": true, "stop": ["canary-stop"]}
            });
            answers.push(server.generate(&body).await["generated_text"].as_str().unwrap().to_owned());
        }
        let (found, all) = (records(&server.fixture), text(&server.fixture));
        for name in ["canary-user", "other-user", "canary-stop"] {
            assert!(!all.contains(name), "{name}");
        }
        assert_eq!(found[0]["user"], found[1]["user"]);
        assert_ne!(found[0]["user"], found[2]["user"]);
        assert_eq!(found[0]["parameters"]["stop_sequences"], 1);
        assert_eq!(all.contains("canary-prompt"), wanted == "true");
        let told = if wanted == "true" { json!(answers[0]) } else { Value::Null };
        assert_eq!(found[0].get("text").cloned().unwrap_or_default(), told);
    }
}

#[tokio::test]
async fn streams_that_break_off_leave_a_record_too() {
    let server = audited(&[("ENGINE__MAX_BATCH_ROWS", "1")]).await;
    // Behind so many others it cannot end before its client leaves.
    let others = (0..40).map(async |_| server.post("/generate", &long_stream()).await);
    let others = futures_util::future::join_all(others);
    let leaving = async {
        server.until(async || server.app.engine.stats().waiting >= 20).await;
        let request = server.http.post(server.url("/generate")).header("x-request-id", "leaving");
        let sent = request.json(&long_stream()).timeout(Duration::from_millis(20)).send().await;
        assert!(sent.is_err_and(|e| e.is_timeout()));
    };
    tokio::join!(others, leaving);
    let left = || records(&server.fixture).into_iter().find(|record| record["request"] == "leaving");
    server.until(async || left().is_some()).await;
    assert_eq!((&left().unwrap()["answer"]["end"], &left().unwrap()["answer"]["tokens"]), (&json!("left"), &json!(0)));

    let server = audited(&[("SERVER__REQUEST_TIMEOUT_MS", "1")]).await;
    let mut whole = long_stream();
    whole["stream"] = false.into();
    assert_eq!(server.post("/generate", &whole).await.status(), 504);
    server.until(async || !records(&server.fixture).is_empty()).await;
    assert_eq!(records(&server.fixture)[0]["answer"]["end"], "deadline_exceeded");
}

/// Greedy and drawn, on both paths, several soups, with and without an early end.
fn bodies() -> Vec<Value> {
    let soups = [json!({}), json!({"concise": 1}), json!({"concise": 0.3, "friendly": 0.7}), json!({"friendly": 1.0})];
    let methods = ["exact", "factor", "ties", "dare_linear"];
    let body = |i: usize| {
        let mut body = json!({
            "inputs": format!("tell me about {}", "this and that ".repeat(1 + i % 5)),
            "preference": soups[i % 4], "merge": {"method": methods[i / 4 % 4], "strength": 1.0 + i as f64 / 7.0},
            "parameters": {"max_new_tokens": 8 + i % 11, "ignore_eos": !i.is_multiple_of(3)}
        });
        if i % 2 == 1 {
            body["parameters"]["temperature"] = json!(0.9);
            body["parameters"]["top_p"] = json!(0.95);
            body["parameters"]["repetition_penalty"] = json!(1.1);
            body["parameters"]["logit_bias"] = json!({"5": 1.5});
        }
        body
    };
    (0..16).map(body).collect()
}

#[tokio::test]
async fn answers_made_in_a_crowd_are_made_again_alone() {
    let server = audited(&[("CACHE__PROMOTE_AFTER", "2"), ("ENGINE__PREFILL_CHUNK", "5")]).await;
    let bodies = bodies();
    // Twice, so that hot soups are served from merged weights and prompts are found in the prefix cache.
    let crowd = bodies.iter().chain(&bodies).map(async |body| server.generate(body).await);
    let answers = futures_util::future::join_all(crowd).await;
    let paths: BTreeSet<_> = answers.iter().map(|a| a["soup"]["path"].as_str().unwrap()).collect();
    assert_eq!(paths.len(), 2, "both paths are there");
    let variables = variables(&server.fixture, &[("ENGINE__PRECISION", "f32"), ("ENGINE__PREFILL_CHUNK", "64")]);
    let file = server.fixture.dir.path().join("prompt");
    for i in [0, 5, 10, 15, 17, 18, 24, 30] {
        let (body, answer) = (&bodies[i % 16], &answers[i]);
        std::fs::write(&file, if i % 2 == 0 { body.to_string() } else { body["inputs"].as_str().unwrap().to_owned() })
            .unwrap();
        let id = answer["request_id"].as_str().unwrap();
        let (code, stdout, stderr) = run(&variables, &["audit", "replay", id, "--prompt-file", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{i}: {stderr}");
        assert_eq!(stdout.trim_end_matches('\n'), answer["generated_text"].as_str().unwrap().trim_end_matches('\n'));
        assert!(stderr.contains("bit for bit"), "{stderr}");
    }
}

#[tokio::test]
async fn a_replay_refuses_what_it_cannot_answer_for() {
    let server = audited(&[]).await;
    let ask = |id: &'static str| {
        server.http.post(server.url("/generate")).header("x-request-id", id).json(&short(json!({"concise": 1}))).send()
    };
    for id in ["one", "two", "two"] {
        ask(id).await.unwrap().error_for_status().unwrap();
    }
    let file = server.fixture.dir.path().join("prompt");
    let replay = |id: &str, prompt: &str| {
        std::fs::write(&file, prompt).unwrap();
        run(&variables(&server.fixture, &[]), &["audit", "replay", id, "--prompt-file", file.to_str().unwrap()])
    };
    assert_eq!(replay("one", "hello").0, 0);
    assert_eq!(replay("one", r#"[{"role": "user", "content": "hello"}]"#).0, 0);
    let (code, _, stderr) = replay("one", "hello!");
    assert_eq!(code, 64);
    assert!(stderr.contains("not the prompt"), "{stderr}");
    assert_eq!(replay("three", "hello").0, 64);
    let (code, _, stderr) = replay("two", "hello");
    assert_eq!(code, 64);
    assert!(stderr.contains("#3") && stderr.contains("#4"), "{stderr}");
    assert_eq!(replay("#4", "hello").0, 0);
    // Somebody changes a policy: the revision is another one, and nothing is made up.
    let manifest = server.fixture.pool().join("pool.toml");
    let pool = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{pool}\n")).unwrap();
    let (code, _, stderr) = replay("one", "hello");
    assert_eq!(code, 78);
    assert!(stderr.contains("revision"), "{stderr}");
    std::fs::write(&manifest, pool).unwrap();
    // Somebody changes the log.
    let segment = dir(&server.fixture).join("audit-00000001.jsonl");
    let log = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, log.replacen("\"seed\":", "\"seed\": ", 1)).unwrap();
    for code in [replay("one", "hello").0, run(&variables(&server.fixture, &[]), &["audit", "verify"]).0] {
        assert_eq!(code, 65);
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_answered() {
    let server = audited(&[]).await;
    server.generate(&short(json!({}))).await;
    let (here, away) = (dir(&server.fixture), server.fixture.dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let (status, code, _) = problem(server.post("/generate", &short(json!({}))).await).await;
    assert_eq!((status, code.as_str()), (503, "audit_unavailable"));
    let mut stream = short(json!({}));
    stream["stream"] = json!(true);
    let (status, code, _) = problem(server.post("/generate", &stream).await).await;
    assert_eq!((status, code.as_str()), (503, "audit_unavailable"), "told before a stream begins");
    std::fs::rename(&away, &here).unwrap();
    server.until(async || server.post("/generate", &short(json!({}))).await.status() == 200).await;
    let body = server.post("/generate", &stream).await.text().await.unwrap();
    assert!(events(&body).last().unwrap().1.get("generated_text").is_some());
    let (code, stdout, stderr) = run(&variables(&server.fixture, &[]), &["audit", "verify"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("4 records"), "the header and three answers: {stdout}");
}

#[test]
fn every_answer_before_kill_9_is_in_the_log() {
    let fixture = Fixture::new();
    let variables = variables(&fixture, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut answered = BTreeSet::new();
    for round in 0..3_u64 {
        let mut server = Running::start(&variables);
        let url = format!("{}/generate", server.url);
        let client = async |url: String| {
            let (http, mut ids) = (reqwest::Client::new(), Vec::new());
            while let Ok(response) = http.post(&url).json(&short(json!({"concise": 1}))).send().await {
                let Ok(body) = response.json::<Value>().await else { break };
                ids.push(body["request_id"].as_str().unwrap().to_owned());
            }
            ids
        };
        runtime.block_on(async {
            let clients = futures_util::future::join_all((0..8).map(|_| client(url.clone())));
            let kill = async {
                // Each round at another moment of the writing.
                tokio::time::sleep(Duration::from_millis(300 + 41 * round)).await;
                server.kill();
            };
            let (ids, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(clients, kill) }).await.unwrap();
            answered.extend(ids.into_iter().flatten());
        });
        let (code, _, stderr) = run(&variables, &["audit", "verify"]);
        assert_eq!(code, 0, "{stderr}");
        let found: BTreeSet<_> = records(&fixture).iter().map(|r| r["request"].as_str().unwrap().to_owned()).collect();
        assert!(answered.is_subset(&found), "round {round}: {:?}", answered.difference(&found).collect::<Vec<_>>());
    }
    assert!(!answered.is_empty());
    Running::start(&variables).kill();
    assert_eq!(run(&variables, &["audit", "verify"]).0, 0);
}

#[test]
fn a_log_that_cannot_be_kept_stops_the_start() {
    let fixture = Fixture::new();
    let path = dir(&fixture).display().to_string();
    let file = fixture.dir.path().join("key");
    let serve = |settings: &[(&str, &str)]| {
        let all = fixture.variables(&[&[("AUDIT__DIR", path.as_str())], settings].concat());
        let (code, _, stderr) = run(&all, &["serve"]);
        assert_eq!(code, 78, "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
        stderr
    };
    assert!(serve(&[]).contains("key"));
    assert!(serve(&[("AUDIT__KEY", "canary-short")]).contains("32 bytes"));
    let named = ("AUDIT__KEY_FILE", file.to_str().unwrap());
    assert!(serve(&[named]).contains("cannot be read"));
    assert!(serve(&[named, KEY]).contains("audit.key"));
    std::fs::write(&file, "canary-of-thirty-two-bytes-or-more\n").unwrap();
    let with_file = fixture.variables(&[("AUDIT__DIR", &path), named]);
    Running::start(&with_file).kill();
    assert_eq!(run(&with_file, &["audit", "verify"]).0, 0);
    assert!(serve(&[KEY]).contains("not signed with this key"));
    assert!(!text(&fixture).contains("canary"));
    assert_eq!(run(&fixture.variables(&[]), &["audit", "verify"]).0, 78, "there is no log");
}
