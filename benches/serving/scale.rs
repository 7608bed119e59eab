//! Cost against the number of policies and of users.

use tureen_engine::{Event, PathChoice};

use crate::fixture::Fixture;
use crate::rates::throughput;
use crate::{median, row};

/// Users with a preference of their own.
const USERS: usize = 100_000;

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

/// Memory after very many users, each with a preference of its own, over memory after a few.
pub(crate) fn users(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.shipped());
    let serve = |users: usize| {
        let mut running = std::collections::VecDeque::new();
        for _ in 0..users {
            running.push_back(serving.submit(&serving.fresh(), PathChoice::Gate, fixture.prompt(2), 1));
            if running.len() > 32 {
                let mut done = running.pop_front().expect("there are more than 32");
                assert!(matches!(done.blocking_next(), Some(Event::Token { .. })));
            }
        }
        running.into_iter().for_each(|mut generation| drop(generation.blocking_next()));
        resident()
    };
    let few = serve(1000);
    let many = serve(USERS);
    row(&format!("memory after {USERS} different preferences over that after 1000"), many, few, "MB");
}

/// Resident memory in megabytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
