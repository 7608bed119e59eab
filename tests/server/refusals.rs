//! What rules and checks refuse is in the audit log, as what is answered is.

use serde_json::{Value, json};

use crate::audit::{audited, dir, records_of, text, variables};
use crate::common::{Server, problem};
use crate::process::run;

const CHECKS: (&str, &str) = (
    "GUARD__CHECKS",
    r#"[
        {name = "pii", kind = "pii", on = "input", action = "redact"},
        {name = "no", kind = "words", on = "input", action = "block", words = ["canary soup"]},
        {name = "ask", kind = "words", on = "input", action = "hold", words = ["canary stew"]},
    ]"#,
);

fn say(text: &str) -> Value {
    json!({"inputs": text, "preference": {"concise": 1}, "parameters": {"max_new_tokens": 1}})
}

/// Asks under this request id and tells the status and the code of the refusal.
async fn refused(server: &Server, id: &str, body: &Value) -> (u16, String, Value) {
    let request = server.http.post(server.url("/generate")).header("x-request-id", id).json(body);
    problem(request.send().await.unwrap()).await
}

fn refusals(server: &Server) -> Vec<Value> {
    records_of(&server.fixture, "refusal")
}

#[tokio::test]
async fn a_prompt_that_a_check_refuses_leaves_a_record_without_text() {
    let server = audited(&[CHECKS]).await;
    let profile = json!({"preference": {"friendly": 1}});
    let put = server.http.put(server.url("/users/canary-user/profile")).json(&profile);
    put.send().await.unwrap().error_for_status().unwrap();

    let (status, code, _) = refused(&server, "blocked", &say("mail mia@example.org: Canary  Soup!")).await;
    assert_eq!((status, code.as_str()), (422, "blocked_input"));
    let body = json!({"inputs": "canary stew", "user": "canary-user"});
    let (status, code, held) = refused(&server, "held", &body).await;
    assert_eq!((status, code.as_str()), (403, "held_for_review"));
    let review = held["review_id"].as_str().unwrap();
    let decision = json!({"decision": "reject"});
    server.post(&format!("/admin/reviews/{review}"), &decision).await.error_for_status().unwrap();
    assert_eq!(refused(&server, "rejected", &body).await.1, "blocked_input");

    // The record is there when the refusal is.
    let found = refusals(&server);
    assert_eq!(found.len(), 3);
    let state = server.get("/policies").await.json::<Value>().await.unwrap();
    let expected = [
        ("blocked", "blocked_input", "concise=1.0", json!([["pii", "redact"], ["no", "block"]]), Value::Null),
        ("held", "held_for_review", "friendly=1.0", json!([["ask", "hold"]]), json!(review)),
        ("rejected", "blocked_input", "friendly=1.0", json!([["ask", "hold"]]), json!(review)),
    ];
    for (record, (id, code, asked, guard, review)) in found.iter().zip(expected) {
        assert_eq!((&record["request"], &record["code"]), (&json!(id), &json!(code)));
        assert_eq!((&record["key"], &record["revision"]), (&Value::Null, &state["revision"]));
        assert_eq!((&record["asked"]["weights"], &record["rules"]), (&json!(asked), &json!([])));
        let decided = record["guard"].as_array().unwrap().iter().map(|d| json!([d["check"], d["action"]]));
        assert_eq!(decided.collect::<Value>(), guard, "{id}");
        assert_eq!(record.get("review").cloned().unwrap_or_default(), review);
        assert_eq!(record["user"].is_string(), id != "blocked", "{record}");
    }
    assert_eq!(found[1]["user"], found[2]["user"]);
    assert_eq!(records_of(&server.fixture, "review")[0]["request"], "held");
    let all = text(&server.fixture).to_lowercase();
    for secret in ["canary", "soup!", "stew", "mia@"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn whatever_refuses_in_the_end_what_was_decided_is_recorded() {
    let rules = [("RULES__WEIGHTS", "concise >= 0.25, friendly <= 0.5"), ("RULES__METHODS", "exact")];
    let server = audited(&[&[CHECKS], &rules[..]].concat()).await;
    let mut body = say("hello");
    body["preference"] = json!({"friendly": 1});
    assert_eq!(refused(&server, "strict", &body).await.1, "weight_below_rule");
    let mut body = say("call 555-123-4567");
    body["parameters"]["max_new_tokens"] = json!(1024);
    body["explain"] = json!(true);
    let (_, code, _) = refused(&server, "redacted", &body).await;
    // Nothing was decided about these.
    let mut unknown = say("hello");
    unknown["preference"] = json!({"nobody": 1});
    assert_eq!(refused(&server, "unknown", &unknown).await.1, "unknown_policy");
    let mut long = body.clone();
    long["inputs"] = json!("hello");
    assert_eq!(refused(&server, "long", &long).await.1, code);
    server.generate(&say("call 555-123-4567")).await;

    let found = refusals(&server);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["request"], &found[0]["code"]), (&json!("strict"), &json!("weight_below_rule")));
    assert_eq!(found[0]["rules"], json!(["weight_below_rule", "weight_above_rule"]));
    assert_eq!((&found[0]["asked"]["weights"], &found[0]["guard"]), (&json!("friendly=1.0"), &json!([])));
    assert_eq!((&found[1]["request"], &found[1]["code"]), (&json!("redacted"), &json!(code)));
    assert_eq!(found[1]["guard"][0]["action"], "redact");
    assert_eq!(records_of(&server.fixture, "generation").len(), 1);
}

#[tokio::test]
async fn a_refusal_is_verified_and_has_nothing_to_replay() {
    let server = audited(&[CHECKS]).await;
    refused(&server, "blocked", &say("canary soup")).await;
    server.generate(&say("hello")).await;
    let variables = variables(&server.fixture, &[]);
    let file = server.fixture.dir.path().join("prompt");
    std::fs::write(&file, "canary soup").unwrap();
    for id in ["blocked", "#2"] {
        let (code, stdout, stderr) = run(&variables, &["audit", "replay", id, "--prompt-file", file.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (64, ""), "{stderr}");
        assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
        assert!(stderr.contains("blocked_input") && stderr.contains("no answer to replay"), "{stderr}");
    }
    let (code, stdout, stderr) = run(&variables, &["audit", "verify"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("3 records"), "{stdout}");
    let segment = dir(&server.fixture).join("audit-00000001.jsonl");
    let log = std::fs::read_to_string(&segment).unwrap();
    let changed = log.replacen("\"action\":\"block\"", "\"action\":\"allow\"", 1);
    assert_ne!(changed, log);
    std::fs::write(&segment, changed).unwrap();
    assert_eq!(run(&variables, &["audit", "verify"]).0, 65);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_refused_either() {
    let server = audited(&[CHECKS]).await;
    let (here, away) = (dir(&server.fixture), server.fixture.dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    for id in ["first", "second"] {
        let (status, code, _) = refused(&server, id, &say("canary soup")).await;
        assert_eq!((status, code.as_str()), (503, "audit_unavailable"));
    }
    std::fs::rename(&away, &here).unwrap();
    server.until(async || refused(&server, "third", &say("canary soup")).await.0 == 422).await;
    let found = refusals(&server);
    assert!(found.iter().all(|record| record["request"] == "third"), "{found:?}");
}
