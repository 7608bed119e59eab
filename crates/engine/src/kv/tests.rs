//! Pages on their own: who holds them, who pays, and what is in them.

use std::sync::Arc;

use tureen_kernels::{CacheBuffers, PAGE, PageShape, Precision};

use super::{Kv, PrefixKey, SequenceCache};
use crate::budget::{Budget, Purpose};

const SHAPE: PageShape = PageShape { layers: 1, heads: 1, head_dim: 2, precision: Precision::F32 };

/// Room for so many pages.
fn kv(pages: usize) -> (Arc<Kv>, Arc<Budget>) {
    let budget = Budget::new((pages * SHAPE.bytes()) as u64, || {});
    (Kv::new(SHAPE, budget.clone(), u64::MAX, None), budget)
}

/// A sequence of these tokens, as if they were computed.
fn computed(kv: &Arc<Kv>, tokens: &[u32]) -> SequenceCache {
    let mut cache = SequenceCache::new(kv.clone(), tokens.len());
    assert!(cache.reserve(tokens.len()));
    cache.advance(tokens.len());
    cache
}

fn tokens(pages: usize, seed: u32) -> Vec<u32> {
    (0..(pages * PAGE) as u32).map(|i| i + seed * 10_000).collect()
}

/// How many tokens of `tokens` are found.
fn found(kv: &Arc<Kv>, tokens: &[u32]) -> usize {
    // The last token is never looked for.
    SequenceCache::new(kv.clone(), tokens.len() + 1).find(PrefixKey::Base, &[tokens, &[0]].concat())
}

#[test]
fn every_page_is_paid_for_until_nobody_holds_it() {
    let (kv, budget) = kv(5);
    let pages = |budget: &Budget| budget.used() as usize / SHAPE.bytes();
    let mut cache = SequenceCache::new(kv.clone(), 90);
    assert!(cache.reserve(17) && cache.reserve(32));
    assert_eq!(pages(&budget), 2);
    assert!(!cache.reserve(90), "six pages are over the budget");
    cache.clear();
    assert_eq!(pages(&budget), 5, "free pages are paid for too");
    kv.rest();
    assert_eq!(pages(&budget), 0);
    let cache = computed(&kv, &tokens(3, 0));
    cache.share(PrefixKey::Base, &tokens(3, 0));
    drop(cache);
    assert_eq!((pages(&budget), kv.prefix_bytes()), (3, budget.used()));
    kv.give_up(budget.limit());
    assert_eq!((pages(&budget), kv.prefix_bytes()), (0, 0));
}

#[test]
fn pages_are_used_again() {
    let (kv, budget) = kv(9);
    drop(computed(&kv, &tokens(5, 0)));
    let cache = computed(&kv, &tokens(3, 0));
    assert_eq!(budget.used() as usize, 5 * SHAPE.bytes());
    kv.rest();
    assert_eq!(budget.used() as usize, 3 * SHAPE.bytes());
    drop(cache);
    kv.rest();
    assert_eq!(budget.used(), 0);
}

#[test]
fn neighbours_in_memory_are_freed_together() {
    let large = PageShape { layers: 30, heads: 3, head_dim: 64, precision: Precision::Bf16 };
    let budget = Budget::new(1 << 30, || {});
    let kv = Kv::new(large, budget.clone(), u64::MAX, None);
    let mut one = SequenceCache::new(kv.clone(), PAGE);
    assert!(one.reserve(PAGE));
    let slab = budget.used();
    assert_eq!(slab, kv.bytes(PAGE));
    let mut others = SequenceCache::new(kv.clone(), 10 * PAGE);
    assert!(others.reserve(10 * PAGE));
    assert_eq!(budget.used(), slab, "eleven pages lie on two huge pages");
    drop(one);
    kv.rest();
    assert!(others.reserve(11 * PAGE));
    assert_eq!(budget.used(), slab, "a page whose neighbours are in use waits for the next one");
    drop(others);
    kv.rest();
    assert_eq!(budget.used(), 0);
}

#[test]
fn all_or_nothing_beside_others() {
    let (kv, budget) = kv(4);
    let mut cache = SequenceCache::new(kv.clone(), 64);
    assert!(!cache.reserve_beside(3 * PAGE, 2));
    assert_eq!(budget.used(), 0);
    assert!(cache.reserve_beside(3 * PAGE, 1));
    kv.rest();
    assert_eq!(budget.used() as usize, 3 * SHAPE.bytes());
}

#[test]
fn what_is_found_begins_alike_under_the_same_key() {
    let (kv, _) = kv(20);
    let known = tokens(3, 0);
    let cache = computed(&kv, &known);
    cache.share(PrefixKey::Base, &known);
    assert_eq!(found(&kv, &known), 48);
    assert_eq!(found(&kv, &known[..47]), 32);
    let mut other = known.clone();
    other[16] += 1;
    assert_eq!(found(&kv, &other), 16);
    other[0] += 1;
    assert_eq!(found(&kv, &other), 0, "a page is known by all that stands before it");
    // A page's tokens in another place.
    assert_eq!(found(&kv, &known[16..]), 0);
}

#[test]
fn the_last_page_goes_first_and_old_prompts_before_new_ones() {
    let (kv, _) = kv(6);
    let (old, new) = (tokens(3, 1), tokens(3, 2));
    for tokens in [&old, &new] {
        computed(&kv, tokens).share(PrefixKey::Base, tokens);
    }
    let mut hungry = SequenceCache::new(kv.clone(), 96);
    for (pages, left) in [(1, [32, 48]), (2, [16, 48]), (3, [0, 48]), (4, [0, 32])] {
        assert!(hungry.reserve(pages * PAGE));
        assert_eq!([found(&kv, &old), found(&kv, &new)], left);
    }
}

#[test]
fn no_more_is_kept_than_was_said() {
    let budget = Budget::new(1 << 20, || {});
    let kv = Kv::new(SHAPE, budget.clone(), 4 * SHAPE.bytes() as u64 + 1, None);
    for seed in 0..50 {
        let tokens = tokens(3, seed);
        computed(&kv, &tokens).share(PrefixKey::Base, &tokens);
        assert!(kv.prefix_bytes() as usize <= 4 * SHAPE.bytes());
        assert_eq!(found(&kv, &tokens), 48);
    }
    // The last one whole, and the beginning of the one before.
    assert_eq!([48, 49].map(|seed| found(&kv, &tokens(3, seed))), [16, 48]);
    // Of a prompt that is longer, the beginning stays.
    let long = tokens(9, 77);
    computed(&kv, &long).share(PrefixKey::Base, &long);
    assert_eq!(found(&kv, &long), 64);
    kv.rest();
    assert_eq!(budget.used(), kv.prefix_bytes());
}

#[test]
fn a_page_that_is_shared_is_not_recycled() {
    let (kv, budget) = kv(3);
    let known = tokens(2, 0);
    computed(&kv, &known).share(PrefixKey::Base, &known);
    let mut reader = SequenceCache::new(kv.clone(), 48);
    assert_eq!(reader.find(PrefixKey::Base, &[&known[..], &[0]].concat()), 32);
    let mut hungry = SequenceCache::new(kv.clone(), 48);
    assert!(hungry.reserve(PAGE) && !hungry.reserve(2 * PAGE), "two of three pages are in use");
    assert_eq!((kv.prefix_bytes(), budget.used()), (0, budget.limit()));
    drop(reader);
    assert!(hungry.reserve(3 * PAGE));
}

#[test]
fn found_pages_are_read_and_own_ones_written() {
    let (kv, _) = kv(9);
    let known = tokens(2, 0);
    computed(&kv, &known).share(PrefixKey::Base, &known);
    let mut readers = [0, 1].map(|_| SequenceCache::new(kv.clone(), 48));
    let mut buffers = CacheBuffers::default();
    let mut batch = buffers.begin(SHAPE);
    let mut row = 0;
    for reader in &mut readers {
        assert!(reader.reserve(40));
        reader.find(PrefixKey::Base, &[&known[..], &[0; 8]].concat());
        assert!(reader.reserve(40));
        // Panics when a row would be written to a page that another holds.
        reader.push(&mut batch, row..row + 8, 32);
        row += 8;
    }
    assert_eq!(batch.rows(), 16);
}

#[test]
fn room_for_something_else_is_made_as_far_as_it_goes() {
    let (kv, budget) = kv(4);
    let known = tokens(2, 0);
    computed(&kv, &known).share(PrefixKey::Base, &known);
    let runs = computed(&kv, &tokens(1, 5));
    drop(computed(&kv, &tokens(1, 6)));
    let page = SHAPE.bytes() as u64;
    assert_eq!(budget.used(), 4 * page);
    kv.give_up(2 * page);
    assert!(budget.lease(Purpose::Soup, 2 * page).is_some());
    assert_eq!(kv.prefix_bytes(), page, "unused pages go first, then as much as is needed");
    kv.give_up(4 * page);
    assert_eq!(budget.used(), page, "nobody takes pages from who runs");
    drop(runs);
}
