//! How long a look-up in the store takes while others read and write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;
use tureen::store::{Change, Edit, Profile, StoreError};

use crate::filled::{Filled, OWNER};

const READERS: u64 = 32;
const WRITERS: u64 = 8;
const LASTS: Duration = Duration::from_secs(20);

/// Readers and writers each as fast as they can, of users drawn evenly from all: hardly one is asked for twice.
pub(crate) async fn report(filled: &Arc<Filled>) {
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS).map(|seed| tokio::spawn(read(filled.clone(), seed, over.clone()))).collect();
    let writers = (READERS..READERS + WRITERS).map(|seed| tokio::spawn(write(filled.clone(), seed, over.clone())));
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(LASTS).await;
    over.store(true, Ordering::Relaxed);
    let (reads, writes) = (sorted(readers).await, sorted(writers).await);
    let rate = |times: &[Duration]| times.len() as f64 / LASTS.as_secs_f64();
    let beside = format!("{READERS} readers and {WRITERS} writers at once");
    row(&format!("a profile read from the store, {beside}: p50"), at(&reads, 0.5), "");
    row("p99", at(&reads, 0.99), "<= 5 ms");
    row("the slowest", at(&reads, 1.0), "");
    println!("| reads in a second | {:.0} | |", rate(&reads));
    row("a profile written beside them, on the disk: p50", at(&writes, 0.5), "");
    row("p99", at(&writes, 0.99), "");
    println!("| writes in a second | {:.0} | |", rate(&writes));
}

async fn read(filled: Arc<Filled>, seed: u64, over: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut random, mut times) = (StdRng::seed_from_u64(seed), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let user = filled.user(random.next_u64());
        let begun = Instant::now();
        let found = filled.store.profile(OWNER, &user).await.unwrap();
        times.push(begun.elapsed());
        assert!(found.is_some());
    }
    times
}

async fn write(filled: Arc<Filled>, seed: u64, over: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut random, mut times) = (StdRng::seed_from_u64(seed), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let user = filled.user(random.next_u64());
        let change = Change { owner: OWNER, user: &user, client_key: None, fingerprint: String::new(), pair: None };
        let begun = Instant::now();
        let same = |current: Option<&Profile>| Ok::<_, StoreError>(Edit::Put(current.unwrap().draft.clone()));
        filled.store.change(&change, same).await.unwrap();
        times.push(begun.elapsed());
    }
    times
}

async fn sorted(tasks: Vec<JoinHandle<Vec<Duration>>>) -> Vec<Duration> {
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort_unstable();
    times
}

fn at(times: &[Duration], share: f64) -> Duration {
    times[((times.len() as f64 * share) as usize).min(times.len() - 1)]
}

fn row(name: &str, figure: Duration, bar: &str) {
    println!("| {name} | {:.2} ms | {bar} |", figure.as_secs_f64() * 1e3);
}
