//! Preferences that are learned from what users choose.

use serde_json::{Value, json};

use crate::common::{Fixture, Server, problem, short};
use crate::process::run;

/// The answer of one policy, explained.
async fn answer(server: &Server, policy: &str) -> Value {
    let mut body = short(json!({policy: 1}));
    body["parameters"]["max_new_tokens"] = json!(12);
    body["explain"] = json!(true);
    server.generate(&body).await
}

fn id(answer: &Value) -> Value {
    json!({"request_id": answer["request_id"]})
}

fn gain(answer: &Value, policy: &str) -> f64 {
    let policies = answer["explanation"]["policies"].as_array().unwrap();
    policies.iter().find(|p| p["policy"] == policy).unwrap()["gain"].as_f64().unwrap()
}

async fn teach(server: &Server, user: &str, body: &Value) -> Value {
    let response = server.post(&format!("/users/{user}/feedback"), body).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn profile(server: &Server, user: &str) -> Value {
    server.get(&format!("/users/{user}/profile")).await.json().await.unwrap()
}

#[tokio::test]
async fn choices_move_the_profile_and_say_why() {
    let server = Server::start().await;
    let (concise, friendly) = (answer(&server, "concise").await, answer(&server, "friendly").await);
    let body = json!({"chosen": id(&concise), "rejected": id(&friendly)});
    let first = teach(&server, "u", &body).await;
    assert_eq!((&first["user"], &first["choices"]), (&json!("u"), &json!(1)));
    for policy in ["concise", "friendly"] {
        let moved = &first["moved"][policy];
        assert!((moved["before"].as_f64().unwrap() - 0.5).abs() < 1e-9, "nothing was known");
        let expected = gain(&concise, policy) - gain(&friendly, policy);
        assert!((moved["gain"].as_f64().unwrap() - expected).abs() < 1e-4, "{moved} {expected}");
        assert!((moved["after"].as_f64().unwrap() - first["preference"][policy].as_f64().unwrap()).abs() < 1e-12);
    }
    let weight = |view: &Value| view["moved"]["concise"]["after"].as_f64().unwrap();
    assert!(weight(&first) > 0.5, "{first}");
    assert!(first["summary"].as_str().unwrap().contains("went from 0.50"), "{first}");
    let second = teach(&server, "u", &body).await;
    assert!(weight(&second) > weight(&first));
    assert!(second["expected"].as_f64().unwrap() > first["expected"].as_f64().unwrap(), "it is less of a surprise");
    let deviation = |view: &Value| view["moved"]["concise"]["deviation"].as_f64().unwrap();
    assert!(deviation(&second) < deviation(&first));
    // The profile is that, and requests are served with it.
    let stored = profile(&server, "u").await;
    assert_eq!((&stored["preference"], &stored["etag"]), (&second["preference"], &second["etag"]));
    assert_eq!(stored["learned"]["choices"], 2);
    let body = json!({"inputs": "hello", "user": "u", "parameters": {"max_new_tokens": 1}});
    let served = server.generate(&body).await["soup"]["weights"]["concise"].as_f64().unwrap();
    assert!((served - weight(&second)).abs() < 1e-9);
    // The other way around goes back.
    let back = teach(&server, "u", &json!({"chosen": id(&friendly), "rejected": id(&concise)})).await;
    assert!(weight(&back) < weight(&second));
    assert!(back["expected"].as_f64().unwrap() < 0.5);
}

#[tokio::test]
async fn texts_ratings_and_edits_teach_too() {
    let server = Server::start().await;
    let choice = |chosen: &str, rejected: &str| json!({"inputs": "hello", "chosen": {"text": chosen}, "rejected": {"text": rejected}});
    let one = teach(&server, "a", &choice("this and that", "something else")).await;
    let other = teach(&server, "b", &choice("something else", "this and that")).await;
    for policy in ["concise", "friendly"] {
        let (one, other) = (&one["moved"][policy], &other["moved"][policy]);
        assert!((one["gain"].as_f64().unwrap() + other["gain"].as_f64().unwrap()).abs() < 1e-9);
        let (up, down) = (one["after"].as_f64().unwrap() - 0.5, other["after"].as_f64().unwrap() - 0.5);
        assert!(up * down < 0.0, "{up} {down}");
    }
    let concise = answer(&server, "concise").await;
    let edit = teach(&server, "c", &json!({"answer": id(&concise), "edited": "this and that"})).await;
    let messages = json!([{"role": "user", "content": "hello"}]);
    let same = json!({
        "messages": messages, "chosen": {"text": "this and that"}, "rejected": id(&concise)
    });
    assert_eq!(edit["moved"], teach(&server, "d", &same).await["moved"]);
    let rate = async |user: &str, rating: f64| {
        teach(&server, user, &json!({"answer": id(&concise), "rating": rating})).await["moved"]["concise"].clone()
    };
    let (good, bad) = (rate("e", 1.0).await, rate("f", 0.0).await);
    assert!((good["gain"].as_f64().unwrap() - gain(&concise, "concise")).abs() < 1e-4);
    let leans = good["gain"].as_f64().unwrap() - gain(&concise, "friendly");
    assert!(
        (good["after"].as_f64().unwrap() - 0.5) * leans > 0.0 && (bad["after"].as_f64().unwrap() - 0.5) * leans < 0.0
    );
}

#[tokio::test]
async fn a_choice_sent_again_is_learned_once() {
    let server = Server::start().await;
    let (a, b) = (answer(&server, "concise").await, answer(&server, "friendly").await);
    let send = async |etag: Option<&str>| {
        let request = server.http.post(server.url("/users/u/feedback")).header("idempotency-key", "k");
        let request = if let Some(etag) = etag { request.header("if-match", etag) } else { request };
        request.json(&json!({"chosen": id(&a), "rejected": id(&b)})).send().await.unwrap()
    };
    let first: Value = send(None).await.json().await.unwrap();
    let again: Value = send(None).await.json().await.unwrap();
    assert_eq!((&again["choices"], &again["etag"]), (&json!(1), &first["etag"]));
    assert_eq!(again["moved"]["concise"]["before"], again["moved"]["concise"]["after"]);
    assert_eq!(profile(&server, "u").await["learned"]["choices"], 1);
    let stale = server.http.post(server.url("/users/u/feedback")).header("if-match", "\"stale\"");
    let stale = stale.json(&json!({"chosen": id(&a), "rejected": id(&b)})).send().await.unwrap();
    assert_eq!(problem(stale).await.0, 412);
}

#[tokio::test]
async fn what_was_learned_is_exported_erased_and_yields_to_what_is_said() {
    let server = Server::start().await;
    let (a, b) = (answer(&server, "concise").await, answer(&server, "friendly").await);
    let body = json!({"chosen": id(&a), "rejected": id(&b)});
    teach(&server, "u", &body).await;
    let patch = async |body: Value| {
        let request = server.http.patch(server.url("/users/u/profile")).json(&body);
        request.send().await.unwrap().error_for_status().unwrap();
    };
    patch(json!({"merge": {"strength": 1.5}})).await;
    assert_eq!(profile(&server, "u").await["learned"]["choices"], 1);
    // Feedback leaves the way of mixing as it is.
    teach(&server, "u", &body).await;
    assert_eq!(profile(&server, "u").await["merge"]["strength"], 1.5);
    let export: Value = server.get("/users/u/export").await.json().await.unwrap();
    assert_eq!(export["profile"]["learned"]["choices"], 2);
    patch(json!({"preference": {"friendly": 0.9}})).await;
    assert!(profile(&server, "u").await.get("learned").is_none(), "who says what they want need not be guessed");
    // What they said is where learning begins.
    let before = profile(&server, "u").await["preference"].clone();
    let sum: f64 = before.as_object().unwrap().values().map(|w| w.as_f64().unwrap()).sum();
    let moved = teach(&server, "u", &body).await["moved"]["friendly"]["before"].as_f64().unwrap();
    assert!((moved - before["friendly"].as_f64().unwrap() / sum).abs() < 1e-9);
    server.http.delete(server.url("/users/u")).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(server.get("/users/u/profile").await.status(), 404);
}

#[tokio::test]
async fn feedback_that_cannot_be_used_is_refused_by_name() {
    let server = Server::locked().await;
    let (ours, theirs) =
        (server.key_of("ours", "generate,feedback").await, server.key_of("theirs", "generate,feedback").await);
    let post = async |key: &str, path: &str, body: &Value| {
        server.http.post(server.url(path)).bearer_auth(key).json(body).send().await.unwrap()
    };
    let answer: Value = post(&ours, "/generate", &short(json!({}))).await.json().await.unwrap();
    let text = json!({"text": "a"});
    let cases = [
        (json!({}), 422, "invalid_field", "chosen"),
        (json!({"chosen": text}), 422, "invalid_field", "chosen"),
        (json!({"chosen": text, "rejected": text}), 422, "invalid_field", "inputs"),
        (json!({"inputs": "a", "answer": text, "rating": 1.5}), 422, "invalid_field", "rating"),
        (json!({"inputs": "a", "answer": {"text": ""}, "rating": 1}), 422, "invalid_field", "answer"),
        (json!({"inputs": "a", "answer": text, "edited": ""}), 422, "invalid_field", "edited"),
        (json!({"answer": {"request_id": "nobody"}, "rating": 1}), 404, "unknown_answer", "answer"),
        (json!({"inputs": "a", "answer": {"text": "long ".repeat(3000)}, "rating": 1}), 422, "prompt_too_long", "user"),
        (json!({"inputs": "a", "answer": text, "rating": 1, "more": 1}), 422, "invalid_field", "more"),
    ];
    for (body, status, code, field) in cases {
        let (got, got_code, problem) = problem(post(&ours, "/users/u/feedback", &body).await).await;
        assert_eq!((got, got_code.as_str(), &problem["field"]), (status, code, &json!(field)), "{problem}");
    }
    let rating = json!({"answer": id(&answer), "rating": 1});
    assert_eq!(post(&ours, "/users/u/feedback", &rating).await.status(), 200);
    let (status, code, _) = problem(post(&theirs, "/users/u/feedback", &rating).await).await;
    assert_eq!((status, code.as_str()), (404, "unknown_answer"), "another owner's answers are unknown");

    let small = Server::with(&[("LIMITS__MAX_EXPLAIN_TOKENS", "20")]).await;
    let body = json!({"inputs": "hello", "chosen": {"text": "this and that"}, "rejected": {"text": "b"}});
    assert_eq!(problem(small.post("/users/u/feedback", &body).await).await.1, "feedback_too_large");
    let alone = Server::with(&[("POOL__DIR", "")]).await;
    assert_eq!(problem(alone.post("/users/u/feedback", &body).await).await.1, "nothing_to_learn");
    assert_eq!(problem(alone.get("/users/u/next-question").await).await.1, "nothing_to_learn");
}

#[tokio::test]
async fn the_next_question_is_one_whose_answer_is_not_known() {
    let server = Server::start().await;
    let ask = async || -> Value { server.get("/users/u/next-question").await.json().await.unwrap() };
    let question = ask().await;
    assert_eq!((&question["first"], &question["second"]), (&json!({"concise": 1.0}), &json!({"friendly": 1.0})));
    assert_eq!(question["strengths"], json!([2.0, 2.0]), "the stronger answers say more");
    let (a, b) = (answer(&server, "concise").await, answer(&server, "friendly").await);
    for _ in 0..20 {
        teach(&server, "u", &json!({"chosen": id(&a), "rejected": id(&b)})).await;
    }
    let later = ask().await;
    assert!(later["teaches"].as_f64().unwrap() < question["teaches"].as_f64().unwrap(), "{question} {later}");
}

#[tokio::test]
async fn a_question_asks_for_what_the_rules_let_be_served() {
    let ask = async |rules: &[(&str, &str)]| {
        let server = Server::with(rules).await;
        let question: Value = server.get("/users/u/next-question").await.json().await.unwrap();
        for (soup, strength) in [("first", 0), ("second", 1)] {
            let mut body = short(question[soup].clone());
            body["merge"] = json!({"strength": question["strengths"][strength]});
            server.generate(&body).await;
        }
        question
    };
    assert_eq!(ask(&[("RULES__MAX_STRENGTH", "1")]).await["strengths"], json!([1.0, 1.0]));
    let bounded = ask(&[("RULES__WEIGHTS", "friendly <= 0")]).await;
    assert!([&bounded["first"], &bounded["second"]].iter().all(|soup| soup.get("friendly").is_none()), "{bounded}");
    let none = Server::with(&[("RULES__MAX_STRENGTH", "0.5")]).await;
    assert_eq!(problem(none.get("/users/u/next-question").await).await.1, "nothing_to_learn");
}

#[test]
fn simulated_people_are_known_after_ten_choices() {
    let variables = Fixture::new().variables(&[]);
    for policies in ["4", "5"] {
        let (code, stdout, stderr) = run(&variables, &["simulate", "--users", "200", "--policies", policies]);
        assert_eq!(code, 0, "{stderr}");
        let error = |count: &str| -> f64 {
            let line = stdout.lines().find(|line| line.trim_start().starts_with(&format!("{count} choices"))).unwrap();
            line.split_whitespace().nth(2).unwrap().parse().unwrap()
        };
        assert!(error("10") <= error("0") / 2.0 && error("30") < error("10"), "{stdout}");
    }
    assert_eq!(run(&variables, &["simulate", "--policies", "1"]).0, 64);
}
