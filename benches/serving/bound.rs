//! Decoding against what memory allows: a step of one stream reads every weight once.

use tureen_engine::{Isa, Precision};
use tureen_kernels::{Compute, Team};

use crate::fixture::Fixture;
use crate::median;
use crate::rates::throughput;

/// Single-stream decoding over the bound that memory bandwidth sets.
pub(crate) fn report(fixture: &Fixture) {
    let serving = fixture.engine(&fixture.shipped());
    let base = [serving.base()];
    throughput(fixture, &serving, &base);
    let rate = median((0..3).map(|_| throughput(fixture, &serving, &base)).collect());
    // As the kernels read: on huge pages, with their team.
    let reading = Compute::new(Isa::detect(), Team::new(0).unwrap());
    let bandwidth = reading.read_ceiling();
    let bytes = step_bytes(fixture);
    let bound = bandwidth / bytes;
    println!(
        "| decode, 1 stream: {:.0} MB a step, {:.1} GB/s of reads | {rate:.0} tokens/s | {bound:.0} tokens/s | {:.3} |",
        bytes / 1e6,
        bandwidth / 1e9,
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
