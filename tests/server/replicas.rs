//! Feedback that names an answer of another replica, or from before a restart.

use serde_json::{Value, json};

use crate::common::{Fixture, Server, problem, short};

const STORED: (&str, &str) = ("LEARNING__ANSWERS", "store");

/// Another server on the store of `first`.
async fn beside(first: &Server, settings: &[(&str, &str)]) -> Server {
    let url = format!("sqlite://{}", first.fixture.store().display());
    Server::on(Fixture::new(), &[&[("STORE__URL", url.as_str())], settings].concat()).await
}

fn rating(answer: &Value) -> Value {
    json!({"answer": {"request_id": answer["request_id"]}, "rating": 1.0})
}

async fn put_profile(server: &Server, user: &str) {
    let body = json!({"preference": {"concise": 1}});
    let put = server.http.put(server.url(&format!("/users/{user}/profile"))).json(&body);
    put.send().await.unwrap().error_for_status().unwrap();
}

async fn teach(server: &Server, user: &str, body: &Value) -> (u16, Value) {
    let response = server.post(&format!("/users/{user}/feedback"), body).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn an_answer_in_the_store_is_known_on_every_replica_and_after_a_restart() {
    let mut first = Server::with(&[STORED]).await;
    let second = beside(&first, &[STORED]).await;
    let (concise, friendly) =
        (first.generate(&short(json!({"concise": 1}))).await, first.generate(&short(json!({"friendly": 1}))).await);
    let choice = json!({
        "chosen": {"request_id": concise["request_id"]}, "rejected": {"request_id": friendly["request_id"]}
    });
    // It is brought to the store behind the answer's back.
    second.until(async || teach(&second, "asked", &choice).await.0 == 200).await;
    // It means what the same texts mean.
    let texts = json!({
        "inputs": "hello", "chosen": {"text": concise["generated_text"]}, "rejected": {"text": friendly["generated_text"]}
    });
    let (by_name, by_text) = (teach(&second, "a", &choice).await.1, teach(&second, "b", &texts).await.1);
    assert_eq!(by_name["moved"], by_text["moved"]);

    let last = first.generate(&short(json!({"concise": 1}))).await;
    first.begin_shutdown();
    let fixture = first.stopped_leaving().await;
    let again = Server::on(fixture, &[STORED]).await;
    let (status, told) = teach(&again, "u", &rating(&last)).await;
    assert_eq!(status, 200, "what was answered before the end is in the store: {told}");
    let (status, code, _) = problem(again.post("/users/u/feedback", &rating(&json!({"request_id": "x"}))).await).await;
    assert_eq!((status, code.as_str()), (404, "unknown_answer"));
}

#[tokio::test]
async fn answers_are_told_and_erased_with_their_user_everywhere() {
    let first = Server::with(&[STORED]).await;
    let second = beside(&first, &[STORED]).await;
    for user in ["u", "other"] {
        put_profile(&first, user).await;
    }
    let ask = async |user: &str| {
        first
            .generate(
                &json!({"inputs": "hello", "user": user, "parameters": {"max_new_tokens": 4, "ignore_eos": true}}),
            )
            .await
    };
    let (ours, theirs) = (ask("u").await, ask("other").await);
    let told = async |user: &str| -> Value {
        first.get(&format!("/users/{user}/export")).await.json::<Value>().await.unwrap()["answers"].clone()
    };
    first.until(async || told("u").await != json!([]) && told("other").await != json!([])).await;
    let kept = &told("u").await[0];
    assert_eq!((&kept["request_id"], &kept["answer"]), (&ours["request_id"], &ours["generated_text"]));
    assert_eq!(kept["prompt"], json!([{"role": "user", "content": "hello"}]));
    let erased = first.http.delete(first.url("/users/u")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(erased["answers"], 1);
    for server in [&first, &second] {
        assert_eq!(teach(server, "x", &rating(&ours)).await.1["code"], "unknown_answer");
        assert_eq!(teach(server, "x", &rating(&theirs)).await.0, 200);
    }
}

#[tokio::test]
async fn by_default_an_answer_is_known_where_it_was_made() {
    let first = Server::start().await;
    put_profile(&first, "u").await;
    let second = beside(&first, &[]).await;
    let body = json!({"inputs": "hello", "user": "u", "parameters": {"max_new_tokens": 4, "ignore_eos": true}});
    let answer = first.generate(&body).await;
    assert_eq!(teach(&second, "u", &rating(&answer)).await.1["code"], "unknown_answer");
    assert_eq!(teach(&first, "u", &rating(&answer)).await.0, 200);
    let erased = first.http.delete(first.url("/users/u")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(erased["answers"], 0);
    assert_eq!(teach(&first, "u", &rating(&answer)).await.1["code"], "unknown_answer", "memory forgets it too");
}

#[tokio::test]
async fn a_store_that_is_gone_keeps_no_answer_waiting() {
    let server = Server::with(&[STORED]).await;
    server.app.store.as_ref().unwrap().close().await;
    let answer = server.generate(&short(json!({"concise": 1}))).await;
    assert_eq!(answer["details"]["generated_tokens"], 4);
    let (status, told) = teach(&server, "u", &rating(&json!({"request_id": "x"}))).await;
    assert_eq!((status, &told["code"]), (503, &json!("store_unavailable")), "it may be there: that is not known now");
}
