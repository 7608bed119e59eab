//! Narrow number formats: near the oracle on both paths, on every instruction set, and the same bits in any batch.

use tureen_engine::PathChoice::{Gate, Materialised};
use tureen_engine::{EngineOptions, Isa, Precision};
use tureen_soup::Method;

use crate::common::{Fixture, options, prompt, run, sampled, tokens};
use crate::oracle;

const WISH: &str = "concise=0.5,expert=0.2,friendly=0.3";
const WEIGHTS: [f64; 3] = [0.5, 0.2, 0.3];

/// The largest error of a logit, relative to the largest logit: rounding of a network 64 wide, where it averages least.
fn bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Bf16 => 0.02,
        Precision::Int8 => 0.05,
    }
}

#[test]
fn soups_are_near_the_oracle_on_both_paths() {
    let fixture = Fixture::new();
    let text = prompt(40, 2);
    let soups = [
        (Method::Exact, oracle::exact(&fixture.base, &fixture.pool_dir(), &fixture.specs, &WEIGHTS, 1.0)),
        (Method::Factor, oracle::factor(&fixture.base, &fixture.pool_dir(), &fixture.specs, &WEIGHTS, 1.0)),
    ];
    for (method, dense) in soups {
        let soup = fixture.soup(WISH, method);
        let wanted = oracle::logits(&fixture.base, &dense, &text);
        for isa in Isa::available() {
            for precision in Precision::ALL {
                let engine = fixture.engine_with(EngineOptions { precision, isa: Some(isa), ..options() });
                for path in [Gate, Materialised] {
                    let error = oracle::error(&engine.logits(&soup, path, &text).unwrap(), &wanted);
                    assert!(error < bound(precision), "{} {precision} {method} {path:?}: {error}", isa.name());
                }
            }
        }
    }
}

#[test]
fn a_request_has_the_same_bits_alone_and_in_a_batch_in_every_precision() {
    let fixture = Fixture::new();
    for precision in [Precision::Bf16, Precision::Int8] {
        let options = EngineOptions { precision, ..options() };
        let together = fixture.engine_with(options.clone());
        let requests: Vec<_> = (0..12_u32)
            .map(|i| {
                let wish = format!("concise={},friendly={}", i, 12 - i);
                let soup = fixture.soup(&wish, if i % 3 == 0 { Method::Factor } else { Method::Exact });
                let mut request = fixture.submission(&prompt(3 + 9 * i as usize, i), &soup, sampled(u64::from(i), 10));
                request.path = if i % 4 == 0 { Materialised } else { Gate };
                request
            })
            .collect();
        let running: Vec<_> = requests.iter().map(|r| together.submit(r.clone()).unwrap()).collect();
        let batched: Vec<_> = running.into_iter().map(tokens).collect();
        let alone = fixture.engine_with(EngineOptions { prefill_chunk: 7, max_batch_rows: 1, ..options });
        for (request, batched) in requests.iter().zip(&batched) {
            assert_eq!(run(&alone, request.clone()), *batched, "{precision} {:?}", request.path);
        }
    }
}
