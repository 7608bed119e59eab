//! A soup's logits, on both paths, against the dense oracle.

use picollama::{Base, PolicySpec};
use tureen_engine::PathChoice::{Auto, Gate, Materialised};
use tureen_engine::SoupPath;
use tureen_soup::{MergeOptions, Method, Preference};

use crate::common::{Fixture, events, prompt, sampled};
use crate::oracle;

const WISH: &str = "concise=0.5,expert=0.2,friendly=0.3";
const WEIGHTS: [f64; 3] = [0.5, 0.2, 0.3];
const CLOSE: f64 = 1e-5;

#[test]
fn the_base_agrees_with_the_oracle() {
    for base in [Base::llama(), Base::qwen2(), Base { tie: false, kv_heads: 4, ..Base::llama() }] {
        let fixture = Fixture::of(base, vec![PolicySpec::lora("concise")]);
        let tokens = prompt(90, 1);
        let soup = fixture.soup_with("", MergeOptions::default());
        let got = fixture.engine().logits(&soup, Auto, &tokens).unwrap();
        let wanted = oracle::logits(&fixture.base, &oracle::tensors(&fixture.base), &tokens);
        let error = oracle::error(&got, &wanted);
        assert!(error < CLOSE, "{error}");
    }
}

#[test]
fn exact_agrees_with_the_oracle_on_both_paths() {
    let fixture = Fixture::new();
    let tokens = prompt(40, 2);
    for strength in [1.0, 2.5] {
        let options = MergeOptions { strength, ..MergeOptions::default() };
        let soup = fixture.soup_with(WISH, options);
        let dense = oracle::exact(&fixture.base, &fixture.pool_dir(), &fixture.specs, &WEIGHTS, strength);
        both_paths_agree(&fixture, &soup, &oracle::logits(&fixture.base, &dense, &tokens), &tokens);
    }
}

#[test]
fn factor_agrees_with_the_oracle_on_both_paths() {
    let fixture = Fixture::new();
    let tokens = prompt(40, 3);
    let soup = fixture.soup(WISH, Method::Factor);
    let dense = oracle::factor(&fixture.base, &fixture.pool_dir(), &fixture.specs, &WEIGHTS, 1.0);
    let wanted = oracle::logits(&fixture.base, &dense, &tokens);
    both_paths_agree(&fixture, &soup, &wanted, &tokens);
    let exact = oracle::exact(&fixture.base, &fixture.pool_dir(), &fixture.specs, &WEIGHTS, 1.0);
    let exact = oracle::logits(&fixture.base, &exact, &tokens);
    let factor = fixture.engine().logits(&soup, Gate, &tokens).unwrap();
    assert!(oracle::error(&factor, &exact) > 100.0 * CLOSE, "the average of factors is not that of products");
}

fn both_paths_agree(fixture: &Fixture, soup: &std::sync::Arc<tureen_soup::Soup>, wanted: &[Vec<f64>], tokens: &[u32]) {
    let engine = fixture.engine();
    let base = fixture.soup_with("", MergeOptions::default());
    let base = engine.logits(&base, Auto, tokens).unwrap();
    assert!(oracle::error(&base, wanted) > 100.0 * CLOSE, "the soup must differ from the base");
    for path in [Gate, Materialised] {
        let error = oracle::error(&engine.logits(soup, path, tokens).unwrap(), wanted);
        assert!(error < CLOSE, "{path:?}: {error}");
    }
}

#[test]
fn the_other_methods_are_served_materialised() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let tokens = prompt(12, 4);
    for method in [Method::Linear, Method::Ties, Method::DareLinear, Method::DareTies, Method::Slerp] {
        let soup = fixture.soup("concise=0.6,friendly=0.4", method);
        let generation = engine.submit(fixture.submission(&tokens, &soup, sampled(1, 2))).unwrap();
        assert_eq!(generation.path(), SoupPath::Materialised, "{method}");
        assert_eq!(events(generation).len(), 3);
        let logits = engine.logits(&soup, Auto, &tokens).unwrap();
        assert!(logits.iter().flatten().all(|l| l.is_finite()));
    }
    // Over LoRA policies `linear` is the mathematics of `exact`.
    let [linear, exact] = [Method::Linear, Method::Exact].map(|m| fixture.soup("concise=0.6,friendly=0.4", m));
    let linear = engine.logits(&linear, Auto, &tokens).unwrap();
    assert_eq!(linear, engine.logits(&exact, Materialised, &tokens).unwrap());
}

#[test]
fn full_weight_policies_are_served() {
    let specs = vec![PolicySpec::full("expert"), PolicySpec { seed: 5, ..PolicySpec::full("friendly") }];
    let fixture = Fixture::of(Base::llama(), specs);
    let engine = fixture.engine();
    let tokens = prompt(12, 5);
    let soup = fixture.soup("expert=0.25,friendly=0.75", Method::Linear);
    let got = engine.logits(&soup, Auto, &tokens).unwrap();
    let mut mixed = oracle::tensors(&fixture.base);
    let policies = fixture.pool.policies();
    for (name, (_, values)) in &mut mixed {
        for (policy, weight) in policies.iter().zip([0.25, 0.75]) {
            let tureen_soup::PolicyWeights::Full(full) = policy.weights() else { panic!("not full") };
            let Some(theta) = full.tensor(name) else { continue };
            let base = oracle::tensors(&fixture.base)[name].1.clone();
            for ((value, theta), base) in values.iter_mut().zip(theta).zip(base) {
                *value += weight * (f64::from(theta) - base);
            }
        }
    }
    let error = oracle::error(&got, &oracle::logits(&fixture.base, &mixed, &tokens));
    assert!(error < CLOSE, "{error}");
    let base = fixture.soup_with("", MergeOptions::default());
    assert_ne!(engine.logits(&base, Auto, &tokens).unwrap(), got);
}

#[test]
fn portable_kernels_agree() {
    let fixture = Fixture::new();
    let soup = fixture.soup(WISH, Method::Exact);
    let tokens = prompt(70, 6);
    let options = tureen_engine::EngineOptions { isa: Some(tureen_engine::Isa::PORTABLE), ..Default::default() };
    let portable = fixture.engine_with(options).logits(&soup, Gate, &tokens).unwrap();
    let fast = fixture.engine().logits(&soup, Gate, &tokens).unwrap();
    let wide: Vec<Vec<f64>> = fast.iter().map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
    assert!(oracle::error(&portable, &wide) < CLOSE);
}

#[test]
fn zero_strength_and_no_wish_are_the_base() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let tokens = prompt(9, 7);
    let base = fixture.pool.soup(&Preference::default(), &MergeOptions::default()).unwrap();
    let still = fixture.soup_with(WISH, MergeOptions { strength: 0.0, ..MergeOptions::default() });
    let base = engine.logits(&base.into(), Auto, &tokens).unwrap();
    assert_eq!(engine.logits(&still, Auto, &tokens).unwrap(), base);
}
