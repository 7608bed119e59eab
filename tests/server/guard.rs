//! Checks of prompts and answers, over the socket.

use serde_json::{Value, json};

use crate::common::{Fixture, Server, events, problem};
use crate::process::run;

/// Letters that the model is held to, by the ids that the fixture's tokenizer gives bytes.
const LETTERS: &str = "abd ";

/// A body whose answer is `count` letters, one in each token.
pub(crate) fn letters(count: usize, seed: u64) -> Value {
    let bias: serde_json::Map<_, _> = LETTERS.bytes().map(|b| ((3 + u32::from(b)).to_string(), json!(100))).collect();
    json!({
        "inputs": "hello",
        "parameters": {
            "max_new_tokens": count, "ignore_eos": true, "temperature": 2.0, "seed": seed, "logit_bias": bias
        }
    })
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// The same request in OpenAI's shape.
fn chat(body: &Value) -> Value {
    let parameters = &body["parameters"];
    json!({
        "messages": [{"role": "user", "content": body["inputs"]}],
        "max_tokens": parameters["max_new_tokens"], "temperature": parameters["temperature"],
        "seed": parameters["seed"], "logit_bias": parameters["logit_bias"], "logprobs": true,
        "stream": body["stream"].as_bool().unwrap_or(false)
    })
}

/// A server with these checks, as TOML.
pub(crate) async fn guarded(checks: &str) -> Server {
    Server::with(&[("GUARD__CHECKS", checks)]).await
}

/// What an unguarded server answers to [`letters`], and two words in a row from its middle, long enough to come in many
/// tokens, with the place where they first stand.
pub(crate) async fn said(count: usize, seed: u64) -> (String, String, usize) {
    let text =
        Server::start().await.generate(&letters(count, seed)).await["generated_text"].as_str().unwrap().to_owned();
    let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).map(|pair| pair.join(" "));
    let found = |pair: &String| Some((pair.clone(), find_words(&text, pair)?));
    let mut pairs: Vec<_> = pairs.filter(|pair| pair.len() >= 7).filter_map(|pair| found(&pair)).collect();
    pairs.retain(|(_, at)| *at > 4 && *at < text.len() - 16);
    let (phrase, at) = pairs.into_iter().next().expect("there is a long pair of words");
    (text, phrase, at)
}

/// Where `phrase` stands as whole words.
fn find_words(text: &str, phrase: &str) -> Option<usize> {
    let padded = format!(" {text} ");
    padded.find(&format!(" {phrase} "))
}

/// Every text that a stream brought, and its last event.
fn texts(body: &str) -> (Vec<String>, Value) {
    let events = events(body);
    let ends = events.iter().filter(|(name, data)| !name.is_empty() || data.get("details").is_some()).count();
    assert_eq!(ends, 1, "one end: {body}");
    let texts = events.iter().map(|(_, data)| data["token"]["text"].as_str().unwrap().to_owned()).collect();
    (texts, events.last().unwrap().1.clone())
}

fn block(phrase: &str) -> String {
    // In another case than it is said in.
    format!(
        r#"[{{name = "no", kind = "words", on = "output", action = "block", words = ["{}"]}}]"#,
        phrase.to_uppercase()
    )
}

#[tokio::test]
async fn a_blocked_phrase_never_leaves_in_pieces() {
    for seed in 1..4 {
        let (text, phrase, at) = said(200, seed).await;
        let server = guarded(&block(&phrase)).await;
        let before = &text[..at];
        let whole = server.generate(&letters(200, seed)).await;
        assert_eq!(whole["generated_text"], before);
        assert_eq!(whole["details"]["finish_reason"], "content_filter");
        let generated = whole["details"]["generated_tokens"].as_u64().unwrap() as usize;
        assert!(
            generated > at && generated < 200,
            "it ends as soon as it is known: {generated} of 200, blocked at {at}"
        );
        let stream = server.post("/generate", &streamed(letters(200, seed))).await.text().await.unwrap();
        let (pieces, last) = texts(&stream);
        assert!(pieces.len() > at / 2, "it streams: {pieces:?}");
        assert_eq!(pieces.concat(), before);
        assert_eq!((&last["generated_text"], &last["details"]), (&whole["generated_text"], &whole["details"]));
        server.until_metric("tureen_request_success_total{finished_reason=\"content_filter\"}", 2.0).await;
        // Nothing of it runs on.
        server.until(async || server.app.engine.stats().running == 0).await;
    }
}

#[tokio::test]
async fn chats_end_with_content_filter() {
    let (text, phrase, at) = said(200, 5).await;
    let server = guarded(&block(&phrase)).await;
    let whole: Value = server.post("/v1/chat/completions", &chat(&letters(200, 5))).await.json().await.unwrap();
    let choice = &whole["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!(&text[..at]), &json!("content_filter"))
    );
    let told = choice["logprobs"]["content"].as_array().unwrap();
    let told: String = told.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert!(text[..at].starts_with(&told) && told.len() + 1 >= at, "tokens of what left alone: {told:?}");
    let stream = server.post("/v1/chat/completions", &chat(&streamed(letters(200, 5)))).await.text().await.unwrap();
    let chunks = events(&stream);
    let delta = |(_, chunk): &(String, Value)| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    assert_eq!(chunks.iter().filter_map(delta).collect::<String>(), text[..at]);
    assert!(!stream.contains(&phrase));
    let ends = chunks.iter().filter(|(_, chunk)| chunk["choices"][0]["finish_reason"] == "content_filter");
    assert_eq!((ends.count(), &chunks.last().unwrap().1), (1, &json!("[DONE]")));
}

#[tokio::test]
async fn what_passes_is_unchanged_with_every_token() {
    let server = guarded(
        r#"[
        {name = "a", kind = "words", action = "block", words = ["never said"]},
        {name = "b", kind = "regex", action = "redact", patterns = ["z{3,9}"]},
        {name = "c", kind = "words", action = "allow", words = ["a", "b"]},
    ]"#,
    )
    .await;
    let plain = Server::start().await;
    for mut body in [
        letters(60, 9),
        json!({"inputs": "hello", "parameters": {"max_new_tokens": 60, "ignore_eos": true, "seed": 1}}),
    ] {
        body["parameters"]["logprobs"] = json!(true);
        body["explain"] = json!(true);
        let mut texts = Vec::new();
        for server in [&server, &plain] {
            let mut whole = server.generate(&body).await;
            let stream = server.post("/generate", &streamed(body.clone())).await.text().await.unwrap();
            let mut events = events(&stream);
            whole["request_id"] = Value::Null;
            events.last_mut().unwrap().1["request_id"] = Value::Null;
            texts.push((whole, events));
        }
        assert_eq!(texts[0], texts[1]);
    }
}

#[tokio::test]
async fn a_blocked_prompt_is_422_and_names_the_check() {
    let server =
        guarded(r#"[{name = "no-soup", kind = "words", on = "input", action = "block", words = ["Secret Soup"]}]"#)
            .await;
    for text in ["secret soup", "a SECRET\n\n soup!", "Ｓecret so\u{AD}up", "s\u{200B}ecret soup"] {
        for stream in [false, true] {
            let body = json!({"inputs": text, "stream": stream});
            let (status, code, problem) = problem(server.post("/generate", &body).await).await;
            assert_eq!((status, code.as_str()), (422, "blocked_input"), "{text:?}");
            assert!(problem["detail"].as_str().unwrap().contains("no-soup"));
            assert_eq!(problem["field"], "inputs");
        }
        let messages = json!([{"role": "system", "content": "be kind"}, {"role": "user", "content": text}]);
        let refused = server.post("/v1/chat/completions", &json!({"messages": messages})).await;
        assert_eq!(refused.status(), 422);
        let error: Value = refused.json().await.unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["param"]),
            (&json!("blocked_input"), &json!("messages[1].content"))
        );
    }
    for text in ["secretsoup", "secret soups", "secret. soup"] {
        let body = json!({"inputs": text, "parameters": {"max_new_tokens": 1}});
        assert_eq!(server.post("/generate", &body).await.status(), 200, "{text}");
    }
    assert_eq!(server.metric("tureen_generations_refused_total{code=\"blocked_input\"}").await, Some(12.0));
    let counted = "tureen_guard_decisions_total{check=\"no-soup\",side=\"input\",action=\"block\"}";
    assert_eq!(server.metric(counted).await, Some(12.0));
}

#[tokio::test]
async fn a_redacted_answer_leaves_as_text_alone() {
    let (text, phrase, at) = said(200, 2).await;
    let checks = format!(
        r#"[{{name = "r", kind = "words", on = "output", action = "redact", words = ["{phrase}"], replacement = "<->"}}]"#
    );
    let server = guarded(&checks).await;
    let mut body = letters(200, 2);
    body["parameters"]["logprobs"] = json!(true);
    body["explain"] = json!(true);
    let whole = server.generate(&body).await;
    let redacted = whole["generated_text"].as_str().unwrap();
    assert_eq!(&redacted[..at + 3], format!("{}<->", &text[..at]));
    assert_eq!(find_words(redacted, &phrase), None);
    assert_eq!(whole["details"]["finish_reason"], "length");
    assert_eq!(whole["explanation"]["unavailable"], "content_filter");
    let stream = server.post("/generate", &streamed(body)).await.text().await.unwrap();
    let (pieces, last) = texts(&stream);
    assert_eq!(pieces.concat(), redacted);
    assert_eq!(
        (&last["details"]["generated_tokens"], &last["generated_text"]),
        (&json!(200), &whole["generated_text"])
    );
    // Tokens that left before keep their ids, none has one after.
    let ids: Vec<_> = events(&stream).iter().map(|(_, data)| data["token"]["id"].is_u64()).collect();
    let known = ids.iter().take_while(|known| **known).count();
    assert!(known > 0 && known <= at && ids[known..].iter().all(|known| !known), "{ids:?}");
}

#[tokio::test]
async fn a_redacted_prompt_is_what_the_model_reads() {
    let server = guarded(r#"[{name = "pii", kind = "pii", on = "input", action = "redact"}]"#).await;
    let body = |text: &str| json!({"inputs": text, "parameters": {"max_new_tokens": 8, "ignore_eos": true}});
    let redacted = server.generate(&body("write to mia@example.org, or call +49 30 901820")).await;
    let plain = Server::start().await.generate(&body("write to [email], or call [phone]")).await;
    assert_eq!(redacted["generated_text"], plain["generated_text"]);
    assert_eq!(redacted["details"]["prompt_tokens"], plain["details"]["prompt_tokens"]);
}

#[tokio::test]
async fn the_soup_is_checked_for_its_drift() {
    let server = guarded(r#"[{name = "far", kind = "drift", action = "block", max = 1e-9}]"#).await;
    let body =
        |preference: Value| json!({"inputs": "hi", "preference": preference, "parameters": {"max_new_tokens": 1}});
    assert_eq!(server.post("/generate", &body(json!({}))).await.status(), 200);
    let (status, code, problem) = problem(server.post("/generate", &body(json!({"concise": 1}))).await).await;
    assert_eq!((status, code.as_str(), &problem["field"]), (422, "blocked_input", &json!("preference")));
    let server = guarded(r#"[{name = "far", kind = "drift", action = "block", max = 1e9}]"#).await;
    assert_eq!(server.post("/generate", &body(json!({"concise": 1}))).await.status(), 200);
}

#[tokio::test]
async fn a_checked_answer_is_recorded_and_made_again() {
    let (text, phrase, at) = said(200, 1).await;
    let checks = format!(
        r#"[{{name = "no", kind = "words", on = "output", action = "block", words = ["{phrase}"]}},
            {{name = "pii", kind = "pii", on = "input", action = "redact"}}]"#
    );
    let fixture = Fixture::new();
    let log = fixture.dir.path().join("audit").display().to_string();
    let settings = [
        ("GUARD__CHECKS", checks.as_str()),
        ("AUDIT__DIR", log.as_str()),
        ("AUDIT__KEY", "a secret that is long enough for one"),
    ];
    let variables = fixture.variables(&settings);
    let server = Server::on(fixture, &settings).await;
    let blocked = server.generate(&letters(200, 1)).await;
    assert_eq!(blocked["generated_text"], text[..at]);
    let redacted = json!({"inputs": "call 555-123-4567", "parameters": {"max_new_tokens": 4}});
    let redacted = server.generate(&redacted).await;
    let files = std::fs::read_dir(&log).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let all: String = files.collect();
    let lines = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let records: Vec<Value> = lines.filter(|record| record["kind"] == "generation").collect();
    assert_eq!(records[0]["guard"], json!([{"check": "no", "side": "output", "action": "block", "count": 1}]));
    assert_eq!(records[0]["answer"]["end"], "content_filter");
    assert_ne!(records[0]["answer"]["sent_fingerprint"], records[0]["answer"]["text_fingerprint"]);
    assert_eq!(records[1]["guard"], json!([{"check": "pii", "side": "input", "action": "redact", "count": 1}]));
    assert_eq!(records[1]["answer"]["sent_fingerprint"], records[1]["answer"]["text_fingerprint"]);
    assert!(!all.contains(&phrase) && !all.contains("555-123"), "a hash may have the digits, not the dashes");
    let prompt = server.fixture.dir.path().join("prompt.txt");
    for (answer, text, wanted) in
        [(&blocked, "hello", 0), (&redacted, "call [phone]", 0), (&redacted, "call 555-123-4567", 64)]
    {
        std::fs::write(&prompt, text).unwrap();
        let id = answer["request_id"].as_str().unwrap();
        let arguments = ["audit", "replay", id, "--prompt-file", prompt.to_str().unwrap()];
        let (code, _, stderr) = run(&variables, &arguments);
        assert_eq!(code, wanted, "{text}: {stderr}");
    }
}
