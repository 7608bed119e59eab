//! Decoding beside somebody who takes every core as well.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::Fixture;
use crate::rates::throughput;
use crate::{median, row};

/// Decoding beside one busy thread for each core, over decoding alone: a fair share would be a half.
pub(crate) fn report(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.shipped());
    for streams in [1, 16] {
        let soups = vec![serving.base(); streams];
        let rate = || throughput(fixture, &serving, &soups);
        rate();
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            beside.push(beside_busy_threads(rate));
            alone.push(rate());
        }
        let label = format!("decode, {streams} streams of the base: beside a busy thread for each core over alone");
        row(&label, median(beside), median(alone), "tokens/s");
    }
}

fn beside_busy_threads<T>(work: impl Fn() -> T) -> T {
    let stop = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}
