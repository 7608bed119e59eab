//! The real base, and real soups of it, against what transformers and PEFT computed (tests/golden/README.md).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use tureen_engine::PathChoice::{Auto, Gate, Materialised};
use tureen_engine::{Checkpoint, Engine, EngineOptions, Event, SamplingParams, Submission};
use tureen_soup::publish::{Entry, add_policy};
use tureen_soup::{MergeOptions, Method, Pool, Preference};

use crate::common::{events, open_pool};

/// Relative to the largest logit.
const CLOSE: f32 = 1e-3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

static BASE: LazyLock<Arc<Checkpoint>> = LazyLock::new(|| {
    let path = root().join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing: run `cargo run -- pull`", path.display());
    Arc::new(Checkpoint::open(&path).unwrap())
});

#[derive(Deserialize)]
struct BaseLogits {
    probe_ids: Vec<usize>,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    name: String,
    text: String,
    tokens: Vec<u32>,
    top: Vec<Vec<(usize, f32)>>,
    last_probes: Vec<f32>,
    greedy: Vec<u32>,
    greedy_text: String,
}

#[derive(Deserialize)]
struct SoupLogits {
    probe_ids: Vec<usize>,
    tokens: Vec<u32>,
    soups: Vec<SoupCase>,
}

#[derive(Deserialize)]
struct SoupCase {
    name: String,
    preference: Preference,
    method: Method,
    probes: Vec<Vec<f32>>,
}

fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(root().join("tests/golden").join(name)).unwrap()).unwrap()
}

fn engine(pool: Arc<Pool>) -> Engine {
    Engine::start(BASE.clone(), pool, EngineOptions { threads: 2, ..EngineOptions::default() }).unwrap()
}

fn near(got: f32, wanted: f32, scale: f32, what: &str) {
    assert!((got - wanted).abs() <= CLOSE * scale, "{what}: {got} is not {wanted}");
}

#[test]
fn the_base_agrees_with_transformers() {
    let pool = Arc::new(Pool::empty(BASE.base_facts().identity()));
    let engine = engine(pool.clone());
    let soup = Arc::new(pool.soup(&Preference::default(), &MergeOptions::default()).unwrap());
    let golden: BaseLogits = golden("base_logits.json");
    for case in golden.prompts {
        let what = &case.name;
        assert_eq!(BASE.tokenizer().encode(&case.text, false).unwrap(), case.tokens, "{what}");
        let logits = engine.logits(&soup, Auto, &case.tokens).unwrap();
        let scale = case.top.iter().flatten().map(|t| t.1.abs()).fold(0.0, f32::max);
        for (row, top) in logits.iter().zip(&case.top) {
            top.iter().for_each(|(id, wanted)| near(row[*id], *wanted, scale, what));
        }
        let last = logits.last().unwrap();
        golden.probe_ids.iter().zip(&case.last_probes).for_each(|(id, wanted)| near(last[*id], *wanted, scale, what));
        let params =
            SamplingParams { max_new_tokens: case.greedy.len(), ignore_eos: true, ..SamplingParams::default() };
        let (prompt, path) = (case.tokens.clone(), Auto);
        let submission = Submission { prompt, pool: pool.clone(), soup: soup.clone(), path, client: 0, params };
        let events = events(engine.submit(submission).unwrap());
        let id = |e: &Event| match e {
            Event::Token { id, .. } => Some(*id),
            _ => None,
        };
        let ids: Vec<u32> = events.iter().filter_map(id).collect();
        assert_eq!(ids, case.greedy, "{what}: {}", case.greedy_text);
    }
}

#[test]
fn soups_agree_with_peft() {
    let dir = tempfile::tempdir().unwrap();
    for (id, code) in [("a", "P1A"), ("b", "P2A")] {
        let entry = Entry {
            id: id.into(),
            code: code.into(),
            dimension: format!("dimension-{id}"),
            instruction: "seeded noise".into(),
            license: "Apache-2.0".into(),
        };
        let from = root().join("tests/golden/lora").join(id);
        add_policy(dir.path(), &BASE.base_facts().identity(), &entry, &from).unwrap();
    }
    let pool = open_pool(dir.path(), &BASE);
    let engine = engine(pool.clone());
    let golden: SoupLogits = golden("lora_logits.json");
    for case in golden.soups {
        let options = MergeOptions { method: case.method, ..MergeOptions::default() };
        let soup = Arc::new(pool.soup(&case.preference, &options).unwrap());
        for path in [Gate, Materialised] {
            let logits = engine.logits(&soup, path, &golden.tokens).unwrap();
            let scale = case.probes.iter().flatten().map(|v| v.abs()).fold(0.0, f32::max);
            for (row, probes) in logits.iter().zip(&case.probes) {
                let pairs = golden.probe_ids.iter().zip(probes);
                pairs.for_each(|(id, wanted)| near(row[*id], *wanted, scale, &format!("{} {path:?}", case.name)));
            }
        }
    }
}
