//! The store, and a server on it, on a real PostgreSQL, which the tests start from Debian's package (`apt-get install postgresql`). Not part
//! of `cargo test`, for machines without one: `cargo test --test postgres`.

#![allow(clippy::unwrap_used)]

mod cluster;
mod replicas;
mod server;
#[path = "../store/suite.rs"]
mod suite;

// What the tests of the server use, of which not all is used here.
#[path = "../server/canary.rs"]
mod canary;
#[allow(dead_code)]
#[path = "../server/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "../server/document.rs"]
mod document;
#[path = "../server/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../server/process.rs"]
mod process;

use std::time::{Duration, Instant};

use cluster::Cluster;
use tureen::config::Config;
use tureen::store::Store;

async fn open(cluster: &Cluster, timeout_ms: &str) -> Store {
    let url = cluster.url();
    let variables = [("TUREEN__STORE__URL", url.as_str()), ("TUREEN__STORE__TIMEOUT_MS", timeout_ms)];
    let config = Config::load(None, variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    Store::open(&config.store).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_behaves() {
    let cluster = Cluster::start();
    // Two replicas that start at the same time bring the tables to their form once.
    let (store, other) = tokio::join!(open(&cluster, "60000"), open(&cluster, "60000"));
    suite::all(&store).await;
    suite::put(&store, "replicas", "u", "a=1").await;
    assert!(other.profile("replicas", &suite::user("u")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_within_a_second_and_ends_by_itself() {
    let mut cluster = Cluster::start();
    let store = open(&cluster, "900").await;
    suite::put(&store, "outage", "u", "a=1").await;
    cluster.stop();
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(store.profile("outage", &suite::user("u")).await.is_err());
        assert!(suite::try_put(&store, "outage", "u", "a=2").await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(4), "two refusals took {:?}", begun.elapsed());
    }
    cluster.run();
    let end = Instant::now() + Duration::from_secs(60);
    while store.profile("outage", &suite::user("u")).await.is_err() {
        assert!(Instant::now() < end, "it does not come back");
    }
    suite::put(&store, "outage", "u", "a=3").await;
}
