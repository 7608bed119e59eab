//! What is not begun, and leaves the stable revision as it is.

use picollama::{Base, PolicySpec, write_pool};
use serde_json::{Value, json};

use super::{leased, other_seed, roll_out, state, with};
use crate::common::{problem, short};

#[tokio::test]
async fn without_room_for_both_the_stable_one_goes_on() {
    let large = |spec: PolicySpec| PolicySpec {
        rank: 64,
        targets: vec!["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        ..spec
    };
    let (server, revision) = with(large, &[("ENGINE__MEMORY_BUDGET", "1MiB")]).await;
    let (status, code, body) =
        problem(server.post("/admin/rollout", &json!({"revision": revision, "percent": 5})).await).await;
    assert_eq!((status, code.as_str()), (422, "out_of_memory"));
    assert!(body["detail"].as_str().unwrap().contains("1048576"), "{body}");
    assert_eq!(state(&server).await["candidate"], Value::Null);
    assert_eq!(leased(&server).await, 0.0);
    server.generate(&short(json!({"concise": 1}))).await;
}

#[tokio::test]
async fn a_broken_candidate_is_refused_with_all_that_is_wrong() {
    let (server, revision) = with(other_seed, &[]).await;
    let dir = server.fixture.dir.path().join("candidate");
    for policy in ["concise", "friendly"] {
        let file = dir.join(policy).join("adapter_model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let request = json!({"revision": revision, "percent": 5});
    let (status, code, body) = problem(server.post("/admin/rollout", &request).await).await;
    assert_eq!((status, code.as_str()), (422, "pool_refused"));
    let problems = body["problems"].as_array().unwrap();
    for policy in ["concise", "friendly"] {
        assert!(problems.iter().any(|p| p.as_str().unwrap().contains(policy)), "{body}");
    }
    // Made for another base.
    let stranger = Base { seed: 99, ..Base::llama() };
    let written = stranger.write(&server.fixture.dir.path().join("stranger"));
    std::fs::remove_dir_all(&dir).unwrap();
    write_pool(&dir, &stranger, &written, &[PolicySpec::lora("concise")]);
    let (status, code, body) = problem(server.post("/admin/rollout", &request).await).await;
    assert_eq!((status, code.as_str()), (422, "pool_refused"));
    assert!(body["problems"][0].as_str().unwrap().contains("sha256"), "{body}");
    assert_eq!(state(&server).await["candidate"], Value::Null);
    server.generate(&short(json!({"concise": 1}))).await;
}

#[tokio::test]
async fn requests_that_contradict_are_refused() {
    let (server, revision) = with(other_seed, &[]).await;
    let wrong = [
        (json!({"percent": 5}), 422, "invalid_field"),
        (json!({"revision": revision}), 422, "invalid_field"),
        (json!({"revision": revision, "percent": 5, "users": ["u"]}), 422, "invalid_field"),
        (json!({"revision": revision, "percent": 101}), 422, "invalid_field"),
        (json!({"revision": revision, "percent": -1}), 422, "invalid_field"),
        (json!({"revision": revision, "users": []}), 422, "invalid_field"),
        (json!({"revision": revision, "users": ["two words"]}), 422, "invalid_user"),
        (json!({"revision": revision, "promote": true, "shadow": true}), 422, "invalid_field"),
        (json!({"revision": revision, "percent": 5, "when": "now"}), 422, "invalid_field"),
    ];
    for (body, status, code) in wrong {
        let (got, why, _) = problem(server.post("/admin/rollout", &body).await).await;
        assert_eq!((got, why.as_str()), (status, code), "{body}");
    }
    roll_out(&server, json!({"revision": revision, "percent": 0})).await;
    let (status, code, _) = problem(server.post("/admin/pool/reload", &json!({})).await).await;
    assert_eq!((status, code.as_str()), (409, "rollout_running"));
    let other = json!({"revision": "r-0", "percent": 5});
    let (status, code, body) = problem(server.post("/admin/rollout", &other).await).await;
    assert_eq!((status, code.as_str()), (409, "rollout_running"));
    assert!(body["detail"].as_str().unwrap().contains(&revision));
}
