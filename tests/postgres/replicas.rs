//! Two servers on one PostgreSQL: what one changes, the other one hears.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::cluster::Cluster;
use crate::common::{Fixture, PATIENCE, Server};

/// Long before what is held in memory goes by itself, on machines that are busy testing.
const SOON: Duration = Duration::from_secs(20);

/// Two servers that hear each other.
async fn pair(cluster: &Cluster, settings: &[(&str, &str)]) -> [Server; 2] {
    let url = cluster.url();
    let settings = [&[("STORE__URL", url.as_str()), ("STORE__TIMEOUT_MS", "20000")], settings].concat();
    let both = [Server::on(Fixture::new(), &settings).await, Server::on(Fixture::new(), &settings).await];
    for server in &both {
        server.until_metric("tureen_store_listening", 1.0).await;
    }
    both
}

async fn put(server: &Server, preference: Value) {
    let request = server.http.put(server.url("/users/u/profile"));
    request.json(&json!({"preference": preference})).send().await.unwrap().error_for_status().unwrap();
}

/// The soup that `u` is served by.
async fn soup(server: &Server) -> Value {
    let body = json!({"inputs": "hello", "user": "u", "parameters": {"max_new_tokens": 1}});
    server.generate(&body).await["soup"]["weights"].clone()
}

/// How long that takes.
async fn until_served(server: &Server, soup_of_u: Value) -> Duration {
    let begun = Instant::now();
    while soup(server).await != soup_of_u {
        assert!(begun.elapsed() < SOON, "{soup_of_u} is not seen");
    }
    begun.elapsed()
}

async fn looked_up(server: &Server, source: &str) -> f64 {
    server.metric(&format!("tureen_profile_lookups_total{{source=\"{source}\"}}")).await.unwrap_or(0.0)
}

/// Ends every connection that listens.
async fn end_listening(database: &mut PgConnection) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tureen listens'";
    sqlx::query(end).fetch_all(database).await.unwrap();
}

async fn until_both_listen(database: &mut PgConnection) {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tureen listens'";
    let end = Instant::now() + PATIENCE;
    while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *database).await.unwrap() < 2 {
        assert!(Instant::now() < end, "they do not listen again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_by_the_other_replica_and_what_is_unchanged_costs_no_query() {
    let cluster = Cluster::start();
    let [here, there] = pair(&cluster, &[]).await;
    put(&here, json!({"concise": 1})).await;
    assert_eq!(soup(&there).await, json!({"concise": 1.0}));
    // Held longer than it would be if nothing were heard, and asked for all the time.
    let (begun, mut since, mut asked) = (Instant::now(), Instant::now(), looked_up(&there, "store").await);
    while since.elapsed() < Duration::from_millis(2500) {
        assert!(begun.elapsed() < PATIENCE, "it is read again and again");
        assert_eq!(soup(&there).await, json!({"concise": 1.0}));
        let now = looked_up(&there, "store").await;
        if now > asked {
            (since, asked) = (Instant::now(), now);
        }
    }
    assert!(looked_up(&there, "cache").await > 0.0);
    for (change, served) in [
        (json!({"friendly": 1}), json!({"friendly": 1.0})),
        (json!({"concise": 1, "friendly": 3}), json!({"concise": 0.25, "friendly": 0.75})),
    ] {
        put(&here, change).await;
        until_served(&there, served).await;
    }
    here.http.delete(here.url("/users/u")).send().await.unwrap().error_for_status().unwrap();
    let by_user = json!({"inputs": "hello", "user": "u"});
    there.until(async || there.post("/generate", &by_user).await.status() == 404).await;
}

/// TUREEN_REPLICA_CHANGES=200 for a figure: the time from an acknowledged write here to the first answer by it there, to
/// whoever asks all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_seen_by_the_other_replica_soon() {
    let changes = std::env::var("TUREEN_REPLICA_CHANGES").map_or(4, |n| n.parse().unwrap());
    let cluster = Cluster::start();
    let [here, there] = pair(&cluster, &[]).await;
    let mut took = Vec::new();
    for policy in ["concise", "friendly"].iter().cycle().take(changes) {
        put(&here, json!({*policy: 1})).await;
        took.push(until_served(&there, json!({*policy: 1.0})).await);
    }
    took.sort_unstable();
    println!("{changes} changes: median {:.0?}, the slowest {:.0?}", took[changes / 2], took[changes - 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_though_the_connection_that_listens_is_gone() {
    let cluster = Cluster::start();
    let [here, there] = pair(&cluster, &[]).await;
    let mut database = PgConnection::connect(&cluster.url()).await.unwrap();
    for round in 0..3 {
        let (old, new) = if round % 2 == 0 { ("concise", "friendly") } else { ("friendly", "concise") };
        put(&here, json!({old: 1})).await;
        until_served(&there, json!({old: 1.0})).await;
        // The notice comes while nobody listens, or a moment before or behind: nothing may depend on that.
        until_both_listen(&mut database).await;
        end_listening(&mut database).await;
        put(&here, json!({new: 1})).await;
        until_served(&there, json!({new: 1.0})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_hears_reads_again() {
    let cluster = Cluster::start();
    let [here, there] = pair(&cluster, &[]).await;
    put(&here, json!({"concise": 1})).await;
    until_served(&there, json!({"concise": 1.0})).await;
    let mut database = PgConnection::connect(&cluster.url()).await.unwrap();
    // No connection that listens lives for long enough to hear anything.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let ending = async {
        while stopped.try_recv() != Err(tokio::sync::oneshot::error::TryRecvError::Closed) {
            end_listening(&mut database).await;
        }
    };
    let changing = async {
        for policy in ["friendly", "concise", "friendly"] {
            put(&here, json!({policy: 1})).await;
            until_served(&there, json!({policy: 1.0})).await;
        }
        drop(stop);
    };
    tokio::join!(ending, changing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_reaches_what_other_replicas_remember() {
    let cluster = Cluster::start();
    let [here, there] = pair(&cluster, &[]).await;
    put(&here, json!({"concise": 1})).await;
    let body = json!({"inputs": "hello", "user": "u", "parameters": {"max_new_tokens": 4, "ignore_eos": true}});
    let answer = there.generate(&body).await;
    let rating = json!({"answer": {"request_id": answer["request_id"]}, "rating": 1.0});
    assert_eq!(there.post("/users/x/feedback", &rating).await.status(), 200, "it is remembered there");
    here.http.delete(here.url("/users/u")).send().await.unwrap().error_for_status().unwrap();
    there.until(async || there.post("/users/x/feedback", &rating).await.status() == 404).await;
}
