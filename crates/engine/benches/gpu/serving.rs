//! Decoding on the gate path over decoding the base, sampled over greedy, and logits beside the CPU's.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use picollama::{Base, PolicySpec, Precision as Stored, write_pool};
use serde_json::{Value, json};
use tureen_engine::{
    Checkpoint, DeviceChoice, Engine, EngineOptions, Event, PathChoice, Precision, SamplingParams, Submission,
};
use tureen_soup::{MergeOptions, Pool, PoolOptions, Soup};

const NAMES: [&str; 6] = ["elementary", "expert", "concise", "informative", "friendly", "unfriendly"];
const ALL: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const PROMPT: usize = 16;

/// Writes base and pool to `folder`, and measures there.
pub(crate) fn measure(folder: &Path, device: DeviceChoice) -> Result<Value, Box<dyn Error>> {
    let twin = device == DeviceChoice::Twin;
    // As wide as a model of a few billion parameters, where products take what they take there; not as deep, as each value
    // has to be drawn first.
    let base = match twin {
        true => Base::llama(),
        false => Base {
            hidden: 4096,
            intermediate: 11_008,
            layers: 4,
            heads: 32,
            kv_heads: 8,
            vocab: 32_000,
            context: 2048,
            ..Base::llama()
        },
    };
    let rank = if twin { 4 } else { 16 };
    let written = base.write_as(&folder.join("base"), Stored::Bf16);
    let spec = |(seed, id): (usize, &&str)| PolicySpec {
        rank,
        alpha: 2.0 * rank as f64,
        targets: ALL.to_vec(),
        seed: seed as u64,
        amplitude: 0.05,
        ..PolicySpec::lora(id)
    };
    let specs: Vec<PolicySpec> = NAMES.iter().enumerate().map(spec).collect();
    write_pool(&folder.join("pool"), &base, &written, &specs);
    let checkpoint = Arc::new(Checkpoint::open(&folder.join("base"))?);
    let pool = Arc::new(Pool::open(&folder.join("pool"), &PoolOptions::default())?);
    let options = EngineOptions {
        device,
        memory_budget: if twin { 64 << 20 } else { 8 << 30 },
        max_batch_rows: 128,
        max_waiting: 128,
        prefill_chunk: 512,
        max_context: 512,
        promote_after: 0,
        prefix_cache: 0,
        speculation: false,
        ..EngineOptions::default()
    };
    let engine = Engine::start(checkpoint.clone(), pool.clone(), options.clone())?;
    let rows: &[usize] = if twin { &[1, 4] } else { &[1, 16, 64, 128] };
    let tokens = if twin { 8 } else { 128 };
    let mut decoding = Vec::new();
    for rows in rows {
        let same = vec![soup(&pool, None)?; *rows];
        let different = (0..*rows).map(|row| soup(&pool, Some(row))).collect::<Result<Vec<_>, _>>()?;
        // Once to warm up, then in turn.
        let greedy = SamplingParams::default();
        let drawn = SamplingParams { temperature: 0.8, ..greedy.clone() };
        let limited = SamplingParams { top_p: 0.95, repetition_penalty: 1.1, ..drawn.clone() };
        let runs = [(&same, &greedy), (&different, &greedy), (&different, &drawn), (&different, &limited)];
        for (soups, params) in runs {
            decode(&engine, &pool, soups, (params, 4))?;
        }
        let mut best = [0.0_f64; 4];
        for _ in 0..3 {
            for (best, (soups, params)) in best.iter_mut().zip(runs) {
                *best = best.max(decode(&engine, &pool, soups, (params, tokens))?);
            }
        }
        let [base, gate, drawn, limited] = best;
        decoding.push(json!({
            "rows": rows, "base_tokens_per_s": base, "gate_tokens_per_s": gate, "gate_over_base": gate / base,
            "drawn_over_greedy": drawn / gate, "limited_over_greedy": limited / gate,
        }));
    }
    let wish = soup(&pool, Some(7))?;
    let text: Vec<u32> = (0..64).map(|i| (i * 37 + 11) % 250).collect();
    let ours = engine.logits(&wish, PathChoice::Gate, &text)?;
    let merged = engine.logits(&wish, PathChoice::Materialised, &text)?;
    drop(engine);
    let cpu = EngineOptions { device: DeviceChoice::Cpu, precision: Precision::F32, memory_budget: 8 << 30, ..options };
    let cpu = Engine::start(checkpoint, pool, cpu)?.logits(&wish, PathChoice::Gate, &text)?;
    Ok(json!({
        "model": {"hidden": base.hidden, "layers": base.layers, "policies": NAMES.len(), "rank": rank},
        "decoding": decoding,
        "logits": {"gate_to_cpu_f32": distance(&ours, &cpu), "materialised_to_gate": distance(&merged, &ours)},
    }))
}

/// The base, or a preference that nobody else has.
fn soup(pool: &Pool, row: Option<usize>) -> Result<Arc<Soup>, Box<dyn Error>> {
    let wish = match row {
        None => String::new(),
        Some(row) => {
            let weight = |(i, name): (usize, &&str)| format!("{name}={}", 1 + (row * (i + 3) + i * i) % 97);
            NAMES.iter().enumerate().map(weight).collect::<Vec<_>>().join(",")
        }
    };
    Ok(Arc::new(pool.soup(&wish.parse()?, &MergeOptions::default())?))
}

/// Tokens per second of all rows together, from the moment on when all of them decode.
fn decode(
    engine: &Engine,
    pool: &Arc<Pool>,
    soups: &[Arc<Soup>],
    (params, tokens): (&SamplingParams, usize),
) -> Result<f64, Box<dyn Error>> {
    let submit = |(row, soup): (usize, &Arc<Soup>)| {
        let prompt = (0..PROMPT as u32).map(|i| (i * 31 + row as u32 * 7) % 250).collect();
        let params =
            SamplingParams { max_new_tokens: tokens + 1, ignore_eos: true, seed: row as u64, ..params.clone() };
        let (pool, soup, path) = (pool.clone(), soup.clone(), PathChoice::Gate);
        engine.submit(Submission { prompt, pool, soup, path, client: row as u64, params })
    };
    let mut running = soups.iter().enumerate().map(submit).collect::<Result<Vec<_>, _>>()?;
    let first = |event: Option<Event>| matches!(event, Some(Event::Token { .. }));
    if !running.iter_mut().all(|generation| first(generation.blocking_next())) {
        return Err("a generation broke off".into());
    }
    let (begun, before) = (Instant::now(), engine.stats().decode_tokens);
    for generation in &mut running {
        let last = std::iter::from_fn(|| generation.blocking_next()).last();
        if !matches!(last, Some(Event::Finished { .. })) {
            return Err(format!("a generation ended with {last:?}").into());
        }
    }
    Ok((engine.stats().decode_tokens - before) as f64 / begun.elapsed().as_secs_f64())
}

/// The largest difference, over the largest of what is expected.
fn distance(ours: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let pairs = || ours.iter().flatten().zip(expected.iter().flatten());
    let largest = pairs().fold(0.0_f32, |most, (_, x)| most.max(x.abs()));
    pairs().fold(0.0_f32, |most, (x, y)| most.max((x - y).abs())) / largest
}
