//! Whose turn it is, told by the queue alone; and what becomes of a draft that broke.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tureen_kernels::{Likelihood, PageShape, Precision};

use super::queue::Queue;
use super::{Admitted, Place, Rank, Sequence, Served};
use crate::answer::answer;
use crate::budget::Budget;
use crate::kv::{Kv, PrefixKey, SequenceCache};
use crate::sampling::{After, Choosing, Sampler, SamplingParams};
use crate::stats::Counters;

/// Makes sequences that can wait; nobody computes them.
struct Maker {
    kv: Arc<Kv>,
    places: Arc<AtomicUsize>,
}

impl Maker {
    fn new() -> Self {
        let kv = Kv::new(PageShape::new(1, 1, 2, Precision::F32), Budget::new(1 << 20, || {}), 0, None);
        Self { kv, places: Arc::default() }
    }

    /// The client's number is the prompt too.
    fn sequence(&self, client: u64) -> Sequence {
        let params = SamplingParams::default();
        Sequence::new(Admitted {
            prompt: vec![client as u32],
            client,
            rank: Rank::Request,
            served: Served::Gate(None),
            prefix: PrefixKey::Base,
            cache: SequenceCache::new(self.kv.clone(), 9),
            sampler: Sampler::new(params, &[], 300),
            stops: None,
            eos: Arc::from([]),
            teller: answer(99).0,
            place: Place::take(&self.places, 100).unwrap(),
        })
    }
}

/// Whose turns come while nothing ends.
fn turns(queue: &mut Queue, count: usize) -> Vec<u64> {
    (0..count).map(|_| queue.next().unwrap().client).collect()
}

#[test]
fn clients_take_turns_however_much_one_asks() {
    let (maker, mut queue) = (Maker::new(), Queue::default());
    for client in [1, 1, 1, 1, 2, 3, 2, 1] {
        queue.enter(maker.sequence(client), &[]);
    }
    assert_eq!(turns(&mut queue, 8), [1, 2, 3, 1, 2, 1, 1, 1]);
    assert!(queue.next().is_none());
}

#[test]
fn a_client_that_was_idle_saved_nothing_up() {
    let (maker, mut queue) = (Maker::new(), Queue::default());
    for _ in 0..6 {
        queue.enter(maker.sequence(1), &[]);
    }
    assert_eq!(turns(&mut queue, 3), [1; 3]);
    for _ in 0..4 {
        queue.enter(maker.sequence(2), &[]);
    }
    // From here on they take turns: there is nothing to catch up with.
    assert_eq!(turns(&mut queue, 7), [2, 1, 2, 1, 2, 1, 2]);
}

#[test]
fn running_requests_count_for_their_client() {
    let (maker, mut queue) = (Maker::new(), Queue::default());
    queue.enter(maker.sequence(1), &[]);
    let running = [queue.next().unwrap()];
    queue.enter(maker.sequence(1), &running);
    queue.enter(maker.sequence(2), &running);
    assert_eq!(turns(&mut queue, 2), [2, 1]);
}

#[test]
fn who_was_sent_back_goes_first_and_who_is_put_back_keeps_its_place() {
    let (maker, mut queue) = (Maker::new(), Queue::default());
    for client in 1..=4 {
        queue.enter(maker.sequence(client), &[]);
    }
    let (first, mut second) = (queue.next().unwrap(), queue.next().unwrap());
    second.preempt();
    queue.put_back(first);
    queue.put_back(second);
    assert_eq!(turns(&mut queue, 4), [2, 1, 3, 4]);
}

/// Rows of logits that make token 5 the likeliest, and what sums them up.
fn rows(finite: &[bool]) -> (Vec<f32>, Vec<Likelihood>) {
    let logits: Vec<f32> = (0..300).map(|id| if id == 5 { 1.0 } else { 0.0 }).collect();
    let likelihood = |finite: &bool| Likelihood { best: 5, largest: 1.0, log_total: 1.0, finite: *finite };
    (logits, finite.iter().map(likelihood).collect())
}

#[test]
fn a_draft_that_is_no_number_is_computed_again_without() {
    let (maker, counters) = (Maker::new(), Counters::default());
    let mut choosing = Choosing::new(300);
    let mut sequence = maker.sequence(5);
    let mut advance = |sequence: &mut Sequence, finite: &[bool]| {
        let (logits, likelihoods) = rows(finite);
        sequence.advance(likelihoods.iter().map(|l| After::Logits(&logits, l)), &mut choosing, &counters);
    };
    assert!(sequence.cache.reserve(40));
    sequence.cache.advance(1);
    for _ in 0..20 {
        advance(&mut sequence, &[true]);
    }
    assert_eq!((sequence.tokens.len(), sequence.cache.computed()), (21, 20));
    sequence.draft(1, 9);
    assert_eq!(sequence.drafted(), 3);
    advance(&mut sequence, &[true, true, false, true]);
    assert_eq!((sequence.tokens.len(), sequence.cache.computed(), sequence.ended), (21, 16, false));
    assert!(sequence.cache.reserve(40));
    sequence.cache.advance(5);
    advance(&mut sequence, &[true]);
    sequence.draft(1, 9);
    assert_eq!((sequence.tokens.len(), sequence.drafted()), (22, 0));
    // Without a draft it is the sequence's own fault.
    advance(&mut sequence, &[false]);
    assert!(sequence.ended);
}
