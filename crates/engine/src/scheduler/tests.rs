//! Whose turn it is, told by the queue alone.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tureen_kernels::{PageShape, Precision};

use super::queue::Queue;
use super::{Admitted, Place, Sequence, Served};
use crate::answer::answer;
use crate::budget::Budget;
use crate::kv::{Kv, PrefixKey, SequenceCache};
use crate::sampling::{Sampler, SamplingParams};

/// Makes sequences that can wait; nobody computes them.
struct Maker {
    kv: Arc<Kv>,
    places: Arc<AtomicUsize>,
}

impl Maker {
    fn new() -> Self {
        let kv = Kv::new(PageShape::new(1, 1, 2, Precision::F32), Budget::new(1 << 20, || {}), 0);
        Self { kv, places: Arc::default() }
    }

    /// The client's number is the prompt too.
    fn sequence(&self, client: u64) -> Sequence {
        let params = SamplingParams::default();
        Sequence::new(Admitted {
            prompt: vec![client as u32],
            client,
            served: Served::Gate(None),
            prefix: PrefixKey::Base,
            cache: SequenceCache::new(self.kv.clone(), 9),
            sampler: Sampler::new(params, &[], 300),
            stops: None,
            eos: Arc::from([]),
            teller: answer(9).0,
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
