//! Cost against the number of policies and of users.

use std::collections::VecDeque;

use tureen_engine::{EngineOptions, Event, Generation, PathChoice, SamplingParams};
use tureen_kernels::PAGE;

use crate::fixture::Fixture;
use crate::rates::throughput;
use crate::{median, row};

/// Users with a preference of their own.
const USERS: [u64; 3] = [1000, 10_000, 100_000];

/// 16 streams over pools of more and more policies.
pub(crate) fn policies(fixture: &Fixture) {
    for n in [1, 2, 4, 8, 16] {
        let serving = fixture.engine(&fixture.random_pool(n));
        let base = vec![serving.base(); 16];
        throughput(fixture, &serving, &base);
        let (mut soups, mut bases) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let fresh: Vec<_> = (0..16).map(|_| serving.fresh()).collect();
            soups.push(throughput(fixture, &serving, &fresh));
            bases.push(throughput(fixture, &serving, &base));
        }
        let label = format!("decode, 16 all-different over 16 of the base: {n} policies on 7 projections");
        row(&label, median(soups), median(bases), "tokens/s");
    }
}

/// Memory after more and more users, each with a preference of its own. The engine is set up as the server does it: it
/// counts soups for promotion and keeps prefixes.
pub(crate) fn users(fixture: &Fixture) {
    let options = EngineOptions { precision: fixture.precision, ..EngineOptions::default() };
    let serving = fixture.engine_with(&fixture.shipped(), options);
    // What is kept for prompts to come has a bound. It is reached first, so that what is left to grow is what users add.
    let kept = || serving.engine.stats().prefix_cache_bytes;
    loop {
        let before = kept();
        let one = serving.submit(&serving.base(), PathChoice::Auto, fixture.prompt(1024), 1);
        finish(one);
        if kept() == before {
            break;
        }
    }
    let start = resident();
    let mut served = 0;
    for users in USERS {
        let mut running = VecDeque::new();
        for user in served..users {
            // One in four leaves a page behind.
            let prompt = fixture.prompt(if user % 4 == 0 { PAGE + 1 } else { 3 });
            let params = SamplingParams {
                max_new_tokens: 2,
                temperature: 1.0,
                seed: user,
                ignore_eos: true,
                ..Default::default()
            };
            running.push_back(serving.submit_with(&serving.fresh(), PathChoice::Auto, prompt, params));
            if running.len() > 32 {
                finish(running.pop_front().expect("there are more than 32"));
            }
        }
        running.into_iter().for_each(finish);
        served = users;
        row(&format!("memory after {users} different preferences over that before"), resident(), start, "MB");
    }
}

fn finish(mut generation: Generation) {
    let last = std::iter::from_fn(|| generation.blocking_next()).last();
    assert!(matches!(last, Some(Event::Finished { .. })), "{last:?}");
}

/// Resident memory in megabytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
