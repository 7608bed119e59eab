//! What users chose as training data: kept only if wanted, read by the trainer, gone with the user.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::Connection;
use tureen_trainer::pairs::{self, Pair};

use crate::common::{Server, problem, short};
use crate::process::run;

const KEPT: (&str, &str) = ("LEARNING__PAIRS_DAYS", "30");
const NONE: (&str, &str) = ("LEARNING__PAIRS_DAYS", "0");

async fn teach(server: &Server, user: &str, body: &Value) -> Value {
    let response = server.post(&format!("/users/{user}/feedback"), body).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn answer(server: &Server, policy: &str) -> (Value, String) {
    let answer = server.generate(&short(json!({policy: 1}))).await;
    (json!({"request_id": answer["request_id"]}), answer["generated_text"].as_str().unwrap().to_owned())
}

fn turns(turns: &[(&str, &str)]) -> Vec<tureen_engine::Message> {
    let turn =
        |(role, content): &(&str, &str)| tureen_engine::Message { role: (*role).into(), content: (*content).into() };
    turns.iter().map(turn).collect()
}

fn export(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    export_with(server, KEPT, arguments)
}

fn export_with(server: &Server, setting: (&str, &str), arguments: &[&str]) -> (i32, String, String) {
    run(&server.fixture.variables(&[setting]), &[&["feedback", "export"], arguments].concat())
}

/// Whether any file of the store holds `text`.
fn on_disk(server: &Server, text: &str) -> bool {
    let holds = |path: &Path| std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    let files = std::fs::read_dir(server.fixture.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| holds(&path))
}

#[tokio::test]
async fn what_users_chose_is_read_by_the_trainer() {
    let server = Server::with(&[KEPT]).await;
    let ((a, a_text), (b, b_text)) = (answer(&server, "concise").await, answer(&server, "friendly").await);
    assert_ne!(a_text, b_text);
    teach(&server, "u-17", &json!({"chosen": a, "rejected": b})).await;
    let messages = json!([
        {"role": "user", "content": "Sky?\n\"Why\""}, {"role": "assistant", "content": "It is blue."},
        {"role": "user", "content": "And at night?"}
    ]);
    let both =
        json!({"messages": messages, "chosen": {"text": "Black."}, "rejected": {"text": "It is, well, darker."}});
    teach(&server, "u-18", &both).await;
    teach(&server, "u-17", &json!({"answer": b, "edited": "As it should be."})).await;
    // None of these is a pair.
    teach(&server, "u-17", &json!({"answer": a, "rating": 1.0})).await;
    teach(&server, "u-17", &json!({"chosen": a, "rejected": a})).await;
    let other = json!({"inputs": "another prompt", "chosen": {"text": "x"}, "rejected": b});
    teach(&server, "u-17", &other).await;

    let file = server.fixture.dir.path().join("pairs.jsonl");
    let (code, stdout, stderr) = export(&server, &["--out", file.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.contains("3 pairs"), "{stderr}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
    let hello = turns(&[("user", "hello")]);
    let night = turns(&[("user", "Sky?\n\"Why\""), ("assistant", "It is blue."), ("user", "And at night?")]);
    let pair = |prompt: &Vec<_>, chosen: &str, rejected: &str| Pair {
        prompt: prompt.clone(),
        chosen: chosen.to_owned(),
        rejected: rejected.to_owned(),
    };
    let expected = [
        pair(&hello, &a_text, &b_text),
        pair(&night, "Black.", "It is, well, darker."),
        pair(&hello, "As it should be.", &b_text),
    ];
    assert_eq!(pairs::read(&file).unwrap(), expected);

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("u-17") && !text.contains("u-18"), "it names no user");
    let columns = |line: &str| -> Vec<bool> {
        let line: Value = serde_json::from_str(line).unwrap();
        ["prompt", "chosen", "rejected"].map(|column| line[column].is_array()).to_vec()
    };
    assert!(text.lines().all(|line| columns(line) == [true; 3]), "a column has one type: {text}");
    assert_eq!(export(&server, &[]).1, text, "standard output has the same");
    assert_eq!(export(&server, &["--owner", "somebody-else"]).1, "");
    assert_eq!(export(&server, &["--out", file.to_str().unwrap()]).0, 64, "nothing is replaced");
}

#[tokio::test]
async fn a_choice_leaves_one_pair_however_often_it_is_sent() {
    let server = Server::with(&[KEPT]).await;
    let body = json!({"inputs": "hello", "chosen": {"text": "this and that"}, "rejected": {"text": "something else"}});
    let send = async |name: &'static str, value: &'static str| {
        let request = server.http.post(server.url("/users/u/feedback")).header(name, value);
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    for _ in 0..3 {
        assert_eq!(send("idempotency-key", "k").await, 200);
    }
    assert_eq!(send("if-match", "\"no-such-state\"").await, 412);
    assert_eq!(export(&server, &[]).1.lines().count(), 1);
}

#[tokio::test]
async fn pairs_are_told_and_erased_with_their_user() {
    let server = Server::with(&[KEPT]).await;
    let body =
        json!({"inputs": "canary-prompt", "chosen": {"text": "canary-good"}, "rejected": {"text": "canary-bad"}});
    for user in ["u", "other"] {
        teach(&server, user, &body).await;
    }
    let told: Value = server.get("/users/u/export").await.json().await.unwrap();
    let pair = &told["pairs"][0];
    assert_eq!(pair["prompt"], json!([{"role": "user", "content": "canary-prompt"}]));
    assert_eq!((&pair["chosen"], &pair["rejected"]), (&json!("canary-good"), &json!("canary-bad")));
    // The pairs outlive the profile, and are still told.
    let gone = server.http.delete(server.url("/users/u/profile")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    let told: Value = server.get("/users/u/export").await.json().await.unwrap();
    assert_eq!((told.get("profile"), told["pairs"].as_array().unwrap().len()), (None, 1));
    let erased = server.http.delete(server.url("/users/u")).send().await.unwrap();
    assert_eq!(erased.json::<Value>().await.unwrap()["pairs"], 1);
    assert_eq!(problem(server.get("/users/u/export").await).await.1, "unknown_user");
    assert_eq!(export(&server, &[]).1.lines().count(), 1, "the other user's is still there");
}

#[tokio::test]
async fn no_text_is_kept_unless_it_is_wanted() {
    let server = Server::start().await;
    let mut body = short(json!({"concise": 1}));
    body["inputs"] = json!("canary-prompt");
    let asked = server.generate(&body).await;
    let edit = json!({"answer": {"request_id": asked["request_id"]}, "edited": "canary-edited"});
    teach(&server, "u", &edit).await;
    let texts =
        json!({"inputs": "canary-prompt", "chosen": {"text": "canary-good"}, "rejected": {"text": "canary-bad"}});
    teach(&server, "u", &texts).await;
    assert!(!on_disk(&server, "canary"));
    let (code, stdout, stderr) = export_with(&server, NONE, &[]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("pairs_days"), "{stderr}");
    let told: Value = server.get("/users/u/export").await.json().await.unwrap();
    assert_eq!(told["pairs"], json!([]));

    // Where they were wanted once and are not any more, they go.
    let mut kept = Server::with(&[KEPT]).await;
    teach(&kept, "u", &texts).await;
    assert!(on_disk(&kept, "canary-good"));
    kept.begin_shutdown();
    let fixture = kept.stopped_leaving().await;
    let server = Server::on(fixture, &[]).await;
    server.until(async || export(&server, &[]).1.is_empty()).await;
}

#[tokio::test]
async fn what_is_older_than_it_may_be_kept_is_not_handed_out() {
    let server = Server::with(&[KEPT]).await;
    for good in ["older", "newer"] {
        let texts = json!({"inputs": "hello", "chosen": {"text": good}, "rejected": {"text": "bad"}});
        teach(&server, "u", &texts).await;
    }
    // The server that removes it looks every ten minutes; until then it is there.
    let mut store = sqlx::SqliteConnection::connect(server.fixture.store().to_str().unwrap()).await.unwrap();
    let age = sqlx::query("UPDATE pairs SET created_at = created_at - $1 WHERE chosen = 'older'");
    let aged = age.bind(30 * 24 * 3_600_000_i64 + 1).execute(&mut store).await.unwrap();
    assert_eq!(aged.rows_affected(), 1);
    let exported = |days| export_with(&server, ("LEARNING__PAIRS_DAYS", days), &[]).1;
    let kept = exported("30");
    assert!(kept.contains("newer") && !kept.contains("older"), "{kept}");
    assert_eq!((exported("31").lines().count(), exported("0").lines().count()), (2, 0));
}
