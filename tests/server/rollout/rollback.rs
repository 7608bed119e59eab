//! Back to the stable revision: by the operator, and by the server itself.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use picollama::{Base, PolicySpec, write_pool};
use serde_json::{Value, json};
use tureen::rollout::{Arm, Outcomes, Plan};
use tureen::{config, startup};

use super::{F32, broken, know, leased, names, of, on, other_seed, roll_out, state, take_back, with};
use crate::common::{Fixture, events, long_stream, problem};

#[tokio::test]
async fn taking_back_is_instant_and_what_runs_ends_on_the_candidate() {
    let (server, revision) = with(other_seed, &[]).await;
    know(&server, &names(1)).await;
    let mut body = long_stream();
    body["preference"] = Value::Null;
    body["user"] = json!("u-0");
    roll_out(&server, json!({"revision": revision, "users": ["u-0"]})).await;
    let whole = events(&server.post("/generate", &body).await.text().await.unwrap()).pop().unwrap().1;
    assert_eq!(whole["soup"]["revision"], json!(revision));

    let streams = stream::iter(0..4).map(async |_| {
        let mut chunks = server.post("/generate", &body).await.bytes_stream();
        let first = chunks.next().await.unwrap().unwrap().to_vec();
        (first, chunks)
    });
    let streams: Vec<_> = streams.buffered(4).collect().await;
    let after = take_back(&server).await;
    assert_eq!((&after["candidate"], &after["last"]["cause"]), (&Value::Null, &json!("operator")));
    let next = server.generate(&of("u-0")).await;
    assert_eq!(next["soup"]["revision"], after["stable"]);
    for (first, chunks) in streams {
        let rest: Vec<_> = chunks.map(|bytes| bytes.unwrap().to_vec()).collect().await;
        let events = events(&String::from_utf8([first, rest.concat()].concat()).unwrap());
        assert_eq!(events.len(), 401);
        let last = &events.last().unwrap().1;
        assert_eq!((&last["soup"], &last["generated_text"]), (&whole["soup"], &whole["generated_text"]));
    }
    server.until(async || leased(&server).await == 0.0).await;
    assert_eq!(take_back(&server).await["last"], after["last"], "there is nothing to take back any more");
    assert_eq!(server.metric("tureen_rollouts_total{cause=\"operator\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_candidate_that_fails_is_rolled_back() {
    let settings = [("ROLLOUT__WINDOW", "20"), ("ROLLOUT__MIN_REQUESTS", "5"), F32];
    let (server, revision) = with(broken, &settings).await;
    know(&server, &names(2)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-0"]})).await;
    for failed in 1..=5 {
        server.generate(&of("u-1")).await;
        let (status, ..) = problem(server.post("/generate", &of("u-0")).await).await;
        assert_eq!(status, 500);
        let state = state(&server).await;
        if failed < 5 {
            let outcomes = &state["candidate"]["outcomes"];
            assert_eq!((&outcomes["candidate"]["errors"], &outcomes["stable"]["errors"]), (&json!(failed), &json!(0)));
            assert_eq!(outcomes["stable"]["requests"], json!(failed));
            continue;
        }
        assert_eq!(state["candidate"], Value::Null);
        assert_eq!((&state["last"]["cause"], &state["last"]["revision"]), (&json!("errors"), &json!(revision)));
        assert_eq!(state["last"]["outcomes"], json!({"requests": 5, "errors": 5, "error_rate": 1.0}));
        assert!(state["last"]["detail"].as_str().unwrap().contains("5 of 5"), "{state}");
    }
    assert_eq!(server.generate(&of("u-0")).await["soup"]["revision"], state(&server).await["stable"]);
    let errors = "tureen_revision_generations_total{revision=\"candidate\",finished_reason=\"error\"}";
    assert_eq!(server.metric(errors).await, Some(5.0));
    assert_eq!(server.metric("tureen_rollouts_total{cause=\"errors\"}").await, Some(1.0));
    let text = server.get("/metrics").await.text().await.unwrap();
    let labels: BTreeSet<_> = text.split("revision=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(labels, ["candidate", "stable"].into());
}

#[test]
fn the_candidate_is_judged_by_itself_and_beside_the_stable_revision() {
    let bounds = |rate, rise| config::Rollout {
        salt: String::new(),
        window: 100,
        min_requests: 10,
        max_error_rate: rate,
        max_error_rise: rise,
    };
    // Every k-th of either fails; tells after how many of the candidate it is over.
    let over = |stable: usize, candidate: usize, bounds: &config::Rollout| {
        let outcomes = Outcomes::default();
        (1..=400).find(|i| {
            assert_eq!(outcomes.push(Arm::Stable, i % stable == 0, bounds), None, "the stable one stays");
            outcomes.push(Arm::Candidate, i % candidate == 0, bounds).is_some()
        })
    };
    assert_eq!(over(1000, 1, &bounds(0.5, 1.0)), Some(10), "not judged by fewer");
    assert_eq!(over(1000, 4, &bounds(0.3, 1.0)), None);
    assert_eq!(over(1000, 4, &bounds(1.0, 0.2)), Some(12), "3 of 12 and none of 12; 2 of 10 before");
    assert_eq!(over(4, 4, &bounds(1.0, 0.1)), None, "no worse than the stable one");
    assert_eq!(over(4, 4, &bounds(0.22, 1.0)), Some(12), "too bad by itself");
    // What is long ago does not count: 20 errors, then a hundred good ones.
    let (outcomes, bounds) = (Outcomes::default(), bounds(1.0, 1.0));
    (0..20).for_each(|_| assert_eq!(outcomes.push(Arm::Candidate, true, &bounds), None));
    (0..100).for_each(|_| assert_eq!(outcomes.push(Arm::Candidate, false, &bounds), None));
    let count = outcomes.count(Arm::Candidate);
    assert_eq!((count.requests, count.errors), (100, 0));
}

#[tokio::test]
async fn what_the_candidate_alone_refuses_counts_against_it() {
    let fixture = Fixture::new();
    let base = Base::llama();
    let written = base.write(&fixture.dir.path().join("again"));
    write_pool(&fixture.dir.path().join("candidate"), &base, &written, &[PolicySpec::lora("friendly")]);
    let (server, revision) = on(fixture, &[("ROLLOUT__MIN_REQUESTS", "3")]).await;
    know(&server, &names(1)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-0"]})).await;
    for _ in 0..3 {
        let (status, code, _) = problem(server.post("/generate", &of("u-0")).await).await;
        assert_eq!((status, code.as_str()), (422, "unknown_policy"));
    }
    assert_eq!(state(&server).await["last"]["cause"], "errors");
    server.generate(&of("u-0")).await;
}

#[tokio::test]
async fn a_candidate_that_is_taken_back_while_it_is_opened_does_not_begin() {
    let (server, revision) = with(other_seed, &[]).await;
    let app = &server.app;
    let since = app.rollout.since();
    let pool = startup::open_candidate(&app.config, app.engine.checkpoint()).unwrap();
    assert_eq!(pool.revision().to_string(), revision);
    let beside = app.engine.open_beside(pool.into()).unwrap();
    take_back(&server).await;
    assert!(!app.rollout.begin(beside, since, Plan::nobody()).await.unwrap());
    assert_eq!(state(&server).await["candidate"], Value::Null);
    assert_eq!(leased(&server).await, 0.0);
}
