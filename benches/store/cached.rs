//! What a look-up costs when the profile is in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tureen::profiles::{Profiles, Source};

use crate::filled::{Filled, OWNER};

/// Profiles that are held: read in a part of the second for which they are.
const HELD: u64 = 1000;
const ROUNDS: usize = 50;

/// Profiles are held for a second, so each round reads them anew and then times the second look-up of each alone.
pub(crate) async fn report(filled: &Filled) {
    let owner: Arc<str> = OWNER.into();
    let users: Vec<_> = (0..HELD).map(|number| filled.user(number * 7919)).collect();
    let (mut hits, mut took) = (0, Duration::ZERO);
    for _ in 0..ROUNDS {
        let profiles = Profiles::new(filled.store.clone(), HELD * 2);
        for user in &users {
            profiles.get(&owner, user).await.unwrap();
        }
        for user in &users {
            let begun = Instant::now();
            let (found, source) = profiles.get(&owner, user).await.unwrap();
            let elapsed = begun.elapsed();
            assert!(found.is_some());
            if source == Source::Cache {
                (hits, took) = (hits + 1, took + elapsed);
            }
        }
    }
    assert!(hits > 0, "reading {HELD} profiles took longer than they are held");
    let each = took.as_secs_f64() / f64::from(hits) * 1e6;
    println!("| a profile found in memory, mean of {hits} | {each:.2} us | < 50 us |");
}
