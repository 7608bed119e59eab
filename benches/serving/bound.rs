//! Decoding against what memory allows: a step of one stream reads every weight once.

use std::time::Instant;

use tureen_engine::Precision;

use crate::fixture::Fixture;
use crate::median;
use crate::rates::throughput;

/// Bytes of the read test: far beyond every cache.
const READ: usize = 512 << 20;

/// Single-stream decoding over the bound that memory bandwidth sets.
pub(crate) fn report(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.shipped());
    let base = [serving.base()];
    throughput(fixture, &serving, &base);
    let rate = median((0..3).map(|_| throughput(fixture, &serving, &base)).collect());
    let bandwidth = median((0..3).map(|_| read()).collect());
    let bytes = step_bytes(fixture);
    let bound = bandwidth * 1e9 / bytes;
    println!(
        "| decode, 1 stream: {:.0} MB a step, {bandwidth:.1} GB/s of reads | {rate:.0} tokens/s | {bound:.0} tokens/s | {:.3} |",
        bytes / 1e6,
        rate / bound
    );
}

/// Bytes of weights in a step: all linear layers and the head; scales with the int8 ones.
fn step_bytes(fixture: &Fixture) -> f64 {
    let c = fixture.checkpoint.config();
    let (queries, keys) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let layer = c.hidden_size * (2 * queries + 2 * keys + 3 * c.intermediate_size);
    let weights = (c.num_hidden_layers * layer + c.vocab_size * c.hidden_size) as f64;
    match fixture.precision {
        Precision::F32 => weights * 4.0,
        Precision::Bf16 => weights * 2.0,
        Precision::Int8 => weights * (1.0 + 4.0 / 64.0),
    }
}

/// Gigabytes per second read by all cores together.
fn read() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let values = vec![1_u64; READ / size_of::<u64>()];
    let part = values.len().div_ceil(cores);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for part in values.chunks(part) {
            scope.spawn(move || {
                let mut sums = [0_u64; 32];
                for piece in part.chunks_exact(32) {
                    sums.iter_mut().zip(piece).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
                }
                std::hint::black_box(sums);
            });
        }
    });
    READ as f64 / begun.elapsed().as_secs_f64() / 1e9
}
