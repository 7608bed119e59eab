//! What the candidate generates for nobody.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{F32, broken, drawn, know, names, other_seed, roll_out, state, with};
use crate::common::Server;

/// An answer without what tells requests apart.
async fn answer(server: &Server, body: &Value) -> Value {
    let mut answer = server.generate(body).await;
    answer["request_id"] = Value::Null;
    answer
}

#[tokio::test]
async fn a_shadow_changes_no_answer_and_refuses_nobody() {
    let rows = [("ENGINE__MAX_BATCH_ROWS", "2"), ("LIMITS__MAX_WAITING", "2"), ("CACHE__PROMOTE_AFTER", "0")];
    let (server, revision) = with(other_seed, &rows).await;
    know(&server, &names(4)).await;
    let bodies: Vec<_> = (0..40).map(|i| drawn(&format!("u-{}", i % 4), i)).collect();
    let mut alone = Vec::new();
    for body in &bodies {
        alone.push(answer(&server, body).await);
    }
    let begun = roll_out(&server, json!({"revision": revision, "percent": 100, "shadow": true})).await;
    assert_eq!((&begun["candidate"]["shadow"], &begun["candidate"]["percent"]), (&json!(true), &json!(100.0)));
    // As many at once as rows. A row is free a moment after its last event, so the places are full of these at times.
    let beside: Vec<_> = stream::iter(&bodies).map(|body| answer(&server, body)).buffered(2).collect().await;
    assert_eq!(beside, alone);
    // One by one there is room for them.
    for (body, alone) in bodies.iter().zip(&alone).take(8) {
        assert_eq!(answer(&server, body).await, *alone);
        server.until(async || server.app.engine.stats().shadows == 0).await;
    }
    let shadows = async |outcome: &str| {
        server.metric(&format!("tureen_rollout_shadows_total{{outcome=\"{outcome}\"}}")).await.unwrap_or(0.0)
    };
    server.until(async || shadows("finished").await + shadows("dropped").await == 48.0).await;
    assert!(shadows("finished").await >= 8.0);
    let candidate = &state(&server).await["candidate"]["outcomes"]["candidate"];
    assert_eq!(candidate["requests"].as_f64(), Some(shadows("finished").await));
    let counted = "tureen_revision_generations_total{revision=\"candidate\",finished_reason=\"length\"}";
    assert_eq!(server.metric(counted).await, Some(shadows("finished").await));
    assert_eq!(server.metric("tureen_request_success_total{finished_reason=\"length\"}").await, Some(88.0));
}

#[tokio::test]
async fn a_candidate_that_fails_in_the_shadow_is_rolled_back_and_nobody_notices() {
    let (server, revision) = with(broken, &[("ROLLOUT__MIN_REQUESTS", "5"), F32]).await;
    know(&server, &names(1)).await;
    let expected = answer(&server, &drawn("u-0", 1)).await;
    roll_out(&server, json!({"revision": revision, "users": ["u-0"], "shadow": true})).await;
    for _ in 0..5 {
        assert_eq!(answer(&server, &drawn("u-0", 1)).await, expected);
        server.until(async || server.app.engine.stats().shadows == 0).await;
    }
    server.until(async || state(&server).await["candidate"].is_null()).await;
    assert_eq!(state(&server).await["last"]["cause"], "errors");
    assert_eq!(server.metric("tureen_rollout_shadows_total{outcome=\"error\"}").await, Some(5.0));
}
