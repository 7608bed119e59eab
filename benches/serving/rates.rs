//! Tokens per second and times to a first token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tureen_engine::{Event, Generation, PathChoice};
use tureen_soup::Soup;

use crate::fixture::{Fixture, Serving};
use crate::{median, row};

/// Alternations of every pair; the median is told.
const ROUNDS: usize = 3;
/// Tokens of each answer and each prompt.
const ANSWER: usize = 128;
const PROMPT: usize = 64;

/// Streams of all-different preferences over as many of the base.
pub(crate) fn decode(fixture: &Fixture) {
    for (name, pool) in
        [("shipped pool (q, v)", fixture.shipped()), ("6 policies on 7 projections", fixture.random_pool(6))]
    {
        let serving = fixture.engine_in(fixture.precision, &pool, 32);
        for streams in [1, 4, 8, 16, 32] {
            let base = || vec![serving.base(); streams];
            throughput(fixture, &serving, &base());
            let (mut soups, mut bases) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let fresh: Vec<_> = (0..streams).map(|_| serving.fresh()).collect();
                soups.push(throughput(fixture, &serving, &fresh));
                bases.push(throughput(fixture, &serving, &base()));
            }
            let label = format!("decode, {name}: {streams} all-different over {streams} of the base");
            row(&label, median(soups), median(bases), "tokens/s");
        }
    }
}

/// Tokens per second of greedy answers to prompts that are no text.
pub(crate) fn throughput(fixture: &Fixture, serving: &Serving<'_>, soups: &[Arc<Soup>]) -> f64 {
    let submit = |soup| serving.submit(soup, PathChoice::Gate, fixture.prompt(PROMPT), ANSWER);
    rate(serving, soups.iter().map(submit).collect())
}

/// Tokens per second of what runs, from the last first token to the end of all.
pub(crate) fn rate(serving: &Serving<'_>, mut running: Vec<Generation>) -> f64 {
    running.iter_mut().for_each(|g| drop(g.blocking_next()));
    let before = serving.engine.stats().decode_tokens;
    let begun = Instant::now();
    for mut generation in running {
        while let Some(event) = generation.blocking_next() {
            assert!(!matches!(event, Event::Failed(_)), "{event:?}");
        }
    }
    (serving.engine.stats().decode_tokens - before) as f64 / begun.elapsed().as_secs_f64()
}

fn first(serving: &Serving<'_>, soup: &Arc<Soup>, prompt: Vec<u32>) -> f64 {
    let begun = Instant::now();
    serving.submit(soup, PathChoice::Gate, prompt, 1).blocking_next();
    millis(begun.elapsed())
}

/// A prompt of 512 tokens.
pub(crate) fn prefill(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.random_pool(6));
    let rate = |soup: &Arc<Soup>| 512.0 / first(&serving, soup, fixture.prompt(512)) * 1e3;
    rate(&serving.base());
    let (mut soups, mut bases) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        soups.push(rate(&serving.fresh()));
        bases.push(rate(&serving.base()));
    }
    row("prefill of 512 tokens, 6 policies on 7 projections over the base", median(soups), median(bases), "tokens/s");
}

/// The first token of a preference that nobody asked for before.
pub(crate) fn first_token(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.shipped());
    let seen = serving.fresh();
    first(&serving, &seen, fixture.prompt(PROMPT));
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..3 * ROUNDS {
        fresh.push(first(&serving, &serving.fresh(), fixture.prompt(PROMPT)));
        again.push(first(&serving, &seen, fixture.prompt(PROMPT)));
    }
    let label = "time to first token, 64 prompt tokens: never-seen preference over a seen one";
    row(label, median(fresh), median(again), "ms");
}

/// Materialising a soup.
pub(crate) fn merge(fixture: &Fixture) {
    for (name, pool) in [("shipped pool", fixture.shipped()), ("6 policies on 7 projections", fixture.random_pool(6))] {
        let serving = fixture.engine(&pool);
        let (mut merges, mut copies) = (Vec::new(), Vec::new());
        let merge = || {
            let before = serving.engine.stats();
            serving.engine.logits(&serving.fresh(), PathChoice::Materialised, &[1]).unwrap();
            (before, serving.engine.stats())
        };
        // As a server that has run for a while: the cache is full, and a soup leaves it for each that comes.
        while let (before, after) = merge()
            && after.soup_cache_entries > before.soup_cache_entries
        {}
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let (before, after) = merge();
            merges.push((after.merge_seconds - before.merge_seconds) * 1e3);
            bytes = after.soup_cache_bytes / after.soup_cache_entries.max(1);
            copies.push(copy(bytes as usize));
        }
        let label = format!("merging a soup, {name} ({:.0} MB): over one copy of as many bytes", bytes as f64 / 1e6);
        row(&label, median(merges), median(copies), "ms");
    }
}

/// Milliseconds to read `bytes` and write as many, on all cores.
fn copy(bytes: usize) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let from = vec![1_u8; bytes];
    let mut to = vec![0_u8; bytes];
    let part = bytes.div_ceil(cores).max(1);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
            scope.spawn(move || to.copy_from_slice(from));
        }
    });
    std::hint::black_box(&to);
    millis(begun.elapsed())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
