//! First figures of serving, as ratios within one run, on the shipped base and pool:
//!
//! ```text
//! cargo run -- pull && cargo bench --bench serving
//! ```

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tureen_engine::{
    Checkpoint, Engine, EngineOptions, Event, Generation, Message, PathChoice, SamplingParams, Submission,
};
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference, Soup};

/// Alternations of every pair; the median is told.
const ROUNDS: usize = 3;
/// Tokens of each answer.
const ANSWER: usize = 48;

fn main() {
    // `cargo test --benches` asks for a list of tests: there are none.
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkpoint = Checkpoint::open(&root.join("models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    let checkpoint = Arc::new(checkpoint.expect("the base; run `cargo run -- pull`"));
    let pool = Arc::new(Pool::open(&root.join("policies"), &PoolOptions::default()).unwrap());
    let options = EngineOptions { promote_after: 0, ..EngineOptions::default() };
    let engine = Engine::start(checkpoint, pool, options).unwrap();
    let bench = Bench { engine, next: std::cell::Cell::new(0) };
    let (isa, policies) = (bench.engine.isa(), bench.engine.pool().policies().len());
    println!("kernels {isa}, f32, {policies} policies, medians of {ROUNDS} alternations\n");
    println!("| row | soups | base or other | ratio |\n|---|---|---|---|");
    for streams in [1, 8, 16] {
        bench.streams(streams);
    }
    bench.first_token();
    bench.merge();
    bench.engine.shutdown();
}

struct Bench {
    engine: Engine,
    next: std::cell::Cell<u32>,
}

impl Bench {
    /// A preference nobody asked for before, over all policies.
    fn fresh(&self) -> Arc<Soup> {
        let pool = self.engine.pool();
        let turn = self.next.replace(self.next.get() + 1);
        let wish = pool.policies().iter().enumerate();
        let wish: Vec<String> =
            wish.map(|(i, p)| format!("{}={}", p.id(), 1 + (turn * 7 + i as u32 * 31) % 997)).collect();
        self.soup(&wish.join(",").parse().unwrap())
    }

    fn soup(&self, preference: &Preference) -> Arc<Soup> {
        Arc::new(self.engine.pool().soup(preference, &MergeOptions::default()).unwrap())
    }

    fn submit(&self, soup: &Arc<Soup>, path: PathChoice, prompt: &[u32], max_new_tokens: usize) -> Generation {
        let params = SamplingParams { max_new_tokens, ignore_eos: true, ..SamplingParams::default() };
        let (prompt, pool, soup) = (prompt.to_vec(), self.engine.pool(), soup.clone());
        self.engine.submit(Submission { prompt, pool, soup, path, params }).unwrap()
    }

    fn prompt(&self) -> Vec<u32> {
        let checkpoint = self.engine.checkpoint();
        let content = "Why is the sky blue, and why is it red in the evening?".to_owned();
        let messages = [Message { role: "user".into(), content }];
        let text = checkpoint.chat_template().unwrap().render(&messages, true).unwrap();
        checkpoint.tokenizer().encode(&text, false).unwrap()
    }

    /// Tokens per second of `n` streams, from the last first token to the end of all.
    fn throughput(&self, soups: &[Arc<Soup>]) -> f64 {
        let prompt = self.prompt();
        let mut running: Vec<_> =
            soups.iter().map(|soup| self.submit(soup, PathChoice::Gate, &prompt, ANSWER)).collect();
        running.iter_mut().for_each(|g| drop(g.blocking_next()));
        let before = self.engine.stats().decode_tokens;
        let begun = Instant::now();
        for mut generation in running {
            while let Some(event) = generation.blocking_next() {
                assert!(!matches!(event, Event::Failed(_)), "{event:?}");
            }
        }
        (self.engine.stats().decode_tokens - before) as f64 / begun.elapsed().as_secs_f64()
    }

    fn streams(&self, n: usize) {
        let base = vec![self.soup(&Preference::default()); n];
        let mut rates = (Vec::new(), Vec::new());
        self.throughput(&base);
        for _ in 0..ROUNDS {
            let soups: Vec<_> = (0..n).map(|_| self.fresh()).collect();
            rates.0.push(self.throughput(&soups));
            rates.1.push(self.throughput(&base));
        }
        let (soups, base) = (median(rates.0), median(rates.1));
        let row = format!("decode, {n} streams, all preferences different, over {n} of the base");
        println!("| {row} | {soups:.0} tokens/s | {base:.0} tokens/s | {:.3} |", soups / base);
    }

    fn first_token(&self) {
        let prompt: Vec<u32> = self.prompt().into_iter().cycle().take(64).collect();
        let seen = self.fresh();
        let wait = |soup: &Arc<Soup>| {
            let begun = Instant::now();
            let mut generation = self.submit(soup, PathChoice::Gate, &prompt, 1);
            generation.blocking_next();
            begun.elapsed()
        };
        wait(&seen);
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        for _ in 0..3 * ROUNDS {
            fresh.push(millis(wait(&self.fresh())));
            again.push(millis(wait(&seen)));
        }
        let (fresh, again) = (median(fresh), median(again));
        let row = "time to first token, 64 prompt tokens, never-seen preference over a seen one";
        println!("| {row} | {fresh:.1} ms | {again:.1} ms | {:.3} |", fresh / again);
    }

    fn merge(&self) {
        let (mut merges, mut reads) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let before = self.engine.stats();
            let soup = self.fresh();
            self.engine.logits(&soup, PathChoice::Materialised, &[1]).unwrap();
            let after = self.engine.stats();
            merges.push((after.merge_seconds - before.merge_seconds) * 1e3);
            bytes = after.soup_cache_bytes / after.soup_cache_entries;
            let values = vec![1.0_f32; bytes as usize / size_of::<f32>()];
            let begun = Instant::now();
            black_box(black_box(&values).chunks_exact(16).map(|c| c.iter().sum::<f32>()).sum::<f32>());
            reads.push(millis(begun.elapsed()));
        }
        let (merge, read) = (median(merges), median(reads));
        let row = format!("merging a soup ({:.1} MB), over reading the same bytes from memory", bytes as f64 / 1e6);
        println!("| {row} | {merge:.1} ms | {read:.1} ms | {:.1} |", merge / read);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
