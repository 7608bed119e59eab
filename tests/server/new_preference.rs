//! A preference of one's own: one PPO run, `publish`, and a reload of the running server.

use std::path::Path;

use serde_json::{Value, json};
use tureen_trainer::commands::{DeviceArgs, PpoArgs, PublishArgs, ppo, publish};

use crate::common::{Server, problem, short};

/// A run of two steps for the policy `salty`, of a dimension that the pool does not have yet.
fn write_config(path: &Path, base: &Path, out: &Path) {
    let text = format!(
        "[policy]\nid = 'salty'\ncode = 'P9A'\ndimension = 'seasoning'\ninstruction = 'Write like a sailor.'\n\
         license = 'Apache-2.0'\n\
         [model]\nbase = '{}'\n\
         [prompts]\nmax_prompt_tokens = 64\n\
         [lora]\nr = 4\nlora_alpha = 8.0\na_seed = 3\n\
         [generation]\noutput_min_length = 5\noutput_max_length = 8\n\
         [reward]\nparts = [{{ kind = 'length', weight = 1.0, tokens = 5.0 }}]\n\
         [ppo]\nsteps = 2\nbatch_size = 4\nmini_batch_size = 2\nlearning_rate = 0.01\n\
         [run]\nout = '{}'\nsave_freq = 1\n",
        base.display(),
        out.display()
    );
    std::fs::write(path, text).unwrap();
}

fn train_and_publish(config: &Path, pool: &Path) {
    let config = config.to_owned();
    let run = PpoArgs {
        config: Some(config.clone()),
        configs: None,
        index: None,
        jobs: 1,
        out: None,
        steps: None,
        resume: false,
        device: DeviceArgs::default(),
    };
    ppo(run).unwrap();
    let machine = "a test".to_owned();
    let (pool, device) = (pool.to_owned(), DeviceArgs::default());
    publish(PublishArgs { config, out: None, checkpoint: None, pool, machine, device }).unwrap();
}

#[tokio::test]
async fn a_new_preference_needs_one_run_and_a_reload() {
    let server = Server::start().await;
    let wish = short(json!({"concise": 0.5, "salty": 0.5}));
    let (status, code, _) = problem(server.post("/generate", &wish).await).await;
    assert_eq!((status, code.as_str()), (422, "unknown_policy"));
    let before = server.generate(&short(json!({"concise": 1.0}))).await;

    let work = tempfile::tempdir().unwrap();
    let config = work.path().join("salty.toml");
    write_config(&config, &server.fixture.base(), &work.path().join("run"));
    let pool = server.fixture.pool();
    tokio::task::spawn_blocking(move || train_and_publish(&config, &pool)).await.unwrap();

    // The server goes on with what it had until it is told.
    let (status, ..) = problem(server.post("/generate", &wish).await).await;
    assert_eq!(status, 422);
    let reloaded: Value = server.post("/admin/pool/reload", &json!({})).await.json().await.unwrap();
    assert_eq!(reloaded["changed"], true);
    let answer = server.generate(&wish).await;
    assert_eq!(answer["soup"]["weights"], json!({"concise": 0.5, "salty": 0.5}));
    assert_eq!(answer["soup"]["revision"], reloaded["revision"]);
    let pool: Value = server.get("/policies").await.json().await.unwrap();
    let ids: Vec<&str> = pool["policies"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["concise", "friendly", "salty"]);
    let dimensions = pool["dimensions"].as_array().unwrap();
    assert!(dimensions.iter().any(|d| d["id"] == "seasoning" && d["poles"] == json!(["salty"])), "{dimensions:?}");
    // What was there answers as before.
    let after = server.generate(&short(json!({"concise": 1.0}))).await;
    assert_eq!(after["generated_text"], before["generated_text"]);
}
