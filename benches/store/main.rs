//! Figures of the store on SQLite, over a million profiles:
//!
//! ```text
//! cargo bench --bench store                           both sections
//! cargo bench --bench store -- --profiles 100000 reads
//! ```

#![allow(clippy::unwrap_used)]

mod cached;
mod filled;
mod reads;

use std::sync::Arc;

use filled::Filled;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    // `cargo test --benches` asks for a list of tests: there are none.
    if arguments.iter().any(|a| a == "--list") {
        return;
    }
    let profiles = match arguments.iter().position(|a| a == "--profiles") {
        None => 1_000_000,
        Some(at) => arguments[at + 1].parse().expect("a number of profiles"),
    };
    let named = |name: &str| arguments.iter().any(|a| a == name);
    let wanted = |name: &str| named(name) || !(named("reads") || named("cached"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let filled = Arc::new(Filled::new(profiles).await);
        println!("{}\n\n| row | figure | bar |\n|---|---|---|", filled.machine());
        if wanted("reads") {
            reads::report(&filled).await;
        }
        if wanted("cached") {
            cached::report(&filled).await;
        }
        filled.store.close().await;
    });
}
