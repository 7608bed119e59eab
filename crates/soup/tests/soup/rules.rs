//! Rules: refused, projected, shrunk; against an enumeration of all active sets.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;
use tureen_soup::rules::{Breach, Ruled, Rules, RulesError, RulesText};
use tureen_soup::{MergeOptions, Method, Pool, Preference, Renormalize};

use crate::fixture::{Folder, Lora, PoolDir, base_tensors, options, preference, soup};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    PoolDir::of(&NAMES.iter().zip(1..).map(|(id, seed)| Lora::new(id, seed)).collect::<Vec<_>>()).open()
});

fn rules(text: serde_json::Value) -> Rules {
    serde_json::from_value::<RulesText>(text).unwrap().try_into().unwrap()
}

fn apply(rules: &Rules, pairs: &[(&str, f64)], options: MergeOptions) -> Result<Ruled, RulesError> {
    rules.apply(&POOL, POOL.soup(&preference(pairs), &options).unwrap())
}

fn strong(strength: f64) -> MergeOptions {
    MergeOptions { strength, ..MergeOptions::default() }
}

fn codes(result: Result<Ruled, RulesError>) -> Vec<&'static str> {
    match result.unwrap_err() {
        RulesError::Broken(breaches) => breaches.iter().map(Breach::code).collect(),
        other => panic!("{other}"),
    }
}

/// Weight times strength.
fn acting(ruled: &Ruled) -> Vec<f64> {
    ruled.soup.weights().iter().map(|w| w * ruled.soup.strength()).collect()
}

fn assert_near(got: &[f64], expected: &[f64]) {
    let near = got.iter().zip(expected).all(|(x, y)| (x - y).abs() <= 1e-9);
    assert!(near && got.len() == expected.len(), "{got:?} is not {expected:?}");
}

#[test]
fn what_the_rules_allow_keeps_every_bit() {
    let rules = rules(json!({
        "weights": ["a >= 0.1", "b <= 0.7"], "forbidden_pairs": ["c+d"], "methods": ["exact"], "max_strength": 2,
        "max_drift": 1e6
    }));
    for (pairs, strength) in [(&[("a", 0.3), ("b", 0.7)][..], 1.0), (&[("a", 1.0), ("c", 2.0)], 2.0)] {
        let asked = POOL.soup(&preference(pairs), &strong(strength)).unwrap();
        let ruled = rules.apply(&POOL, asked.clone()).unwrap();
        assert_eq!((&ruled.soup, ruled.breaches.len()), (&asked, 0));
    }
    let everything = POOL.soup(&preference(&[("a", 1.0), ("b", 1.0)]), &options(Method::Ties)).unwrap();
    assert_eq!(Rules::default().apply(&POOL, everything.clone()).unwrap().soup, everything);
}

#[test]
fn strict_rules_name_everything_that_is_broken() {
    let rules = rules(json!({
        "weights": ["a >= 0.2", "b <= 0.5"], "forbidden_pairs": ["d + c", "a+b"], "methods": ["exact", "linear"],
        "max_strength": 1.5
    }));
    assert_eq!(codes(apply(&rules, &[("b", 1.0)], strong(1.0))), ["weight_below_rule", "weight_above_rule"]);
    assert_eq!(codes(apply(&rules, &[("a", 1.0), ("c", 1.0), ("d", 1.0)], strong(1.0))), ["forbidden_pair"]);
    assert_eq!(codes(apply(&rules, &[("a", 1.0)], strong(1.6))), ["strength_over_rule"]);
    assert_eq!(codes(apply(&rules, &[("a", 1.0)], options(Method::Factor))), ["merge_method_not_allowed"]);
    assert_eq!(codes(apply(&rules, &[], strong(1.0))), ["weight_below_rule"], "the base lacks what is required");
    let weak = codes(apply(&rules, &[("a", 1.0)], strong(0.1)));
    assert_eq!(weak, ["weight_below_rule"], "no strength goes around a requirement");
}

#[test]
fn projecting_moves_as_little_as_the_rules_ask() {
    let project = |text: serde_json::Value| {
        let mut text = text;
        text["outside"] = json!("project");
        rules(text)
    };
    let required = project(json!({"weights": ["a >= 0.2"]}));
    assert_near(&acting(&apply(&required, &[("b", 1.0)], strong(1.0)).unwrap()), &[0.2, 0.8, 0.0, 0.0]);
    let base = apply(&required, &[], strong(1.0)).unwrap();
    assert_near(&acting(&base), &[0.2, 0.0, 0.0, 0.0]);
    assert_eq!(base.soup.weights(), [1.0, 0.0, 0.0, 0.0]);
    // Nobody asked for c or d: what b may not have is not given to them.
    let bounded = project(json!({"weights": ["b <= 0.3"]}));
    assert_near(&acting(&apply(&bounded, &[("b", 1.0)], strong(1.0)).unwrap()), &[0.0, 0.3, 0.0, 0.0]);
    assert_near(&acting(&apply(&bounded, &[("a", 0.5), ("b", 0.5)], strong(1.0)).unwrap()), &[0.7, 0.3, 0.0, 0.0]);
    let nothing = apply(&project(json!({"weights": ["b <= 0"]})), &[("b", 1.0)], strong(1.0)).unwrap();
    assert!(nothing.soup.is_base());
    // The lighter one of a pair leaves.
    let apart = project(json!({"forbidden_pairs": ["a+b"]}));
    let ruled = apply(&apart, &[("a", 0.3), ("b", 0.5), ("c", 0.2)], strong(1.0)).unwrap();
    assert_near(&acting(&ruled), &[0.0, 0.65, 0.35, 0.0]);
    assert_eq!(ruled.breaches, [Breach::Pair { first: "a".into(), second: "b".into() }]);
    // Only the strength is over: the weights are those that were asked for.
    let ruled = apply(&project(json!({"max_strength": 1.5})), &[("a", 0.3), ("b", 0.7)], strong(3.0)).unwrap();
    assert_eq!((ruled.soup.weights(), ruled.soup.strength()), (&[0.3, 0.7, 0.0, 0.0][..], 1.5));
    assert_eq!(codes(apply(&project(json!({"methods": ["linear"]})), &[("a", 1.0)], strong(1.0))).len(), 1);
}

#[test]
fn rules_that_nothing_keeps_refuse_everything() {
    let required = rules(json!({"outside": "project", "weights": ["a >= 0.2", "b >= 0.1"]}));
    let apart = required.and(&rules(json!({"outside": "project", "forbidden_pairs": ["a+b"]})));
    assert_eq!(codes(apply(&apart, &[("a", 1.0)], strong(1.0))), ["rules_unsatisfiable"]);
    let weak = required.and(&rules(json!({"outside": "project", "max_strength": 0.25})));
    assert_eq!(codes(apply(&weak, &[("a", 1.0)], strong(1.0))), ["rules_unsatisfiable"]);
    let neither = required.and(&rules(json!({"outside": "project", "weights": ["a <= 0.1"]})));
    assert_eq!(codes(apply(&neither, &[("a", 1.0)], strong(1.0))), ["rules_unsatisfiable"]);
    let missing = rules(json!({"outside": "project", "weights": ["nobody >= 0.2"]}));
    assert_eq!(codes(apply(&missing, &[("a", 1.0)], strong(1.0))), ["rules_unsatisfiable"]);
    assert_eq!(missing.unknown(&POOL).into_iter().collect::<Vec<_>>(), ["nobody"]);
    assert!(required.unknown(&POOL).is_empty());
    let third = apply(&required, &[("c", 1.0), ("d", 1.0)], options(Method::Slerp)).unwrap_err();
    assert!(matches!(third, RulesError::Preference(_)), "{third}");
}

#[test]
fn both_rules_hold_and_the_stricter_way_wins() {
    let project = rules(json!({"outside": "project", "weights": ["a <= 0.5"], "methods": ["exact", "linear"]}));
    let refuse = rules(json!({"weights": ["b <= 0.9"], "methods": ["linear", "ties"], "max_drift": 1e6}));
    let both = project.and(&refuse);
    let far = MergeOptions { strength: 0.6, ..options(Method::Linear) };
    assert_eq!(codes(apply(&both, &[("a", 1.0)], far)), ["weight_above_rule"]);
    assert_eq!(codes(apply(&both, &[("c", 1.0)], options(Method::Exact))), ["merge_method_not_allowed"]);
    assert!(apply(&both, &[("a", 0.5), ("c", 0.5)], options(Method::Linear)).is_ok());
    assert_eq!(both, both.and(&Rules::default()));
    assert_eq!(both, Rules::default().and(&both));
}

#[test]
fn soups_that_go_too_far_are_refused_or_shrunk() {
    let asked = soup(&POOL, &[("a", 1.0), ("b", 1.0)], Method::Exact);
    let most = 0.75 * POOL.drift(&asked);
    let refuse = rules(json!({"max_drift": most}));
    assert_eq!(codes(refuse.apply(&POOL, asked.clone())), ["drift_exceeded"]);
    let shrink = rules(json!({"max_drift": most, "over_drift": "shrink"}));
    let ruled = shrink.apply(&POOL, asked.clone()).unwrap();
    assert!((ruled.soup.strength() - 0.75).abs() < 1e-12);
    assert!(POOL.drift(&ruled.soup) <= most * (1.0 + 1e-12));
    assert_eq!(ruled.soup.weights(), asked.weights());
    assert_eq!(ruled.breaches.len(), 1);
    // What is required must not be shrunk away.
    let required = shrink.and(&rules(json!({"weights": ["a >= 0.5"], "over_drift": "shrink"})));
    assert_eq!(codes(required.apply(&POOL, asked)), ["drift_exceeded"]);
    // A policy nobody measured may be anywhere.
    let dir = PoolDir::new(&[Folder::full("x", &base_tensors())]);
    let pool = dir.open();
    let unknown = shrink.apply(&pool, soup(&pool, &[("x", 1.0)], Method::Linear));
    assert_eq!(codes(unknown), ["drift_exceeded"]);
}

#[test]
fn renormalising_keeps_the_mean_of_the_norms() {
    let pairs = [("a", 0.25), ("b", 0.75)];
    let drift = |method| MergeOptions { renormalize: Renormalize::Drift, strength: 0.5, ..options(method) };
    let mean = 0.5 * (0.25 * POOL.norms()[0] + 0.75 * POOL.norms()[1]);
    for method in [Method::Exact, Method::Linear] {
        let soup = POOL.soup(&preference(&pairs), &drift(method)).unwrap();
        assert!((POOL.drift(&soup) - mean).abs() < 1e-9 * mean);
        assert_eq!(soup.weights(), [0.25, 0.75, 0.0, 0.0]);
        // The strength that acts names the soup, however it came to be.
        assert_eq!(soup.id(), POOL.soup(&preference(&pairs), soup.options()).unwrap().id());
    }
    // One policy alone is as large as it is.
    let one = POOL.soup(&preference(&[("a", 1.0)]), &drift(Method::Exact)).unwrap();
    assert!((one.strength() - 0.5).abs() < 1e-12);
    assert!(POOL.soup(&preference(&[]), &drift(Method::Exact)).unwrap().is_base());
    let refused = |pool: &Pool, method| pool.soup(&preference(&pairs), &drift(method)).unwrap_err().code();
    assert_eq!(refused(&POOL, Method::Factor), "renormalize_not_for_method");
    let first = Lora::new("a", 1);
    let mut opposite = Lora { id: "b".into(), ..first.clone() };
    opposite.modules.iter_mut().for_each(|m| m.b.iter_mut().for_each(|b| *b = -*b / 3.0));
    let pool = PoolDir::of(&[first, opposite]).open();
    assert_eq!(refused(&pool, Method::Exact), "renormalize_out_of_range", "nothing can be scaled out of nothing");
}

#[test]
fn rules_that_cannot_be_read_are_named() {
    for (text, key) in [
        (json!({"outside": "maybe"}), "outside"),
        (json!({"over_drift": "project"}), "over_drift"),
        (json!({"weights": ["a > 0.2"]}), "weights"),
        (json!({"weights": ["a >= much"]}), "weights"),
        (json!({"weights": ["a >= NaN"]}), "weights"),
        (json!({"weights": ["a >= 5"]}), "weights"),
        (json!({"weights": ["A >= 0.1"]}), "weights"),
        (json!({"weights": ["a >= 0.5", "a <= 0.4"]}), "weights"),
        (json!({"forbidden_pairs": ["a"]}), "forbidden_pairs"),
        (json!({"forbidden_pairs": ["a+a"]}), "forbidden_pairs"),
        (json!({"forbidden_pairs": ["a+b", "a+c", "a+d", "b+c", "b+d", "c+d", "e+f"]}), "forbidden_pairs"),
        (json!({"methods": ["magic"]}), "methods"),
        (json!({"max_strength": 5}), "max_strength"),
        (json!({"max_drift": -1}), "max_drift"),
    ] {
        let written: RulesText = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(Rules::try_from(written).unwrap_err().key, key, "{text}");
    }
    assert!(serde_json::from_value::<RulesText>(json!({"nonsense": 1})).is_err());
}

/// The nearest point of `{Σ x = sum, lower ≤ x ≤ upper}`: of all ways to hold coordinates at their bounds, the best one
/// that is allowed.
fn oracle(v: &[f64], lower: &[f64], upper: &[f64], sum: f64) -> Vec<f64> {
    let n = v.len();
    let mut best: Option<(f64, Vec<f64>)> = None;
    for code in 0..3_usize.pow(n as u32) {
        let state = |i: usize| code / 3_usize.pow(i as u32) % 3;
        let mut x: Vec<f64> = (0..n).map(|i| if state(i) == 0 { lower[i] } else { upper[i] }).collect();
        let free: Vec<usize> = (0..n).filter(|i| state(*i) == 2).collect();
        if x.iter().enumerate().any(|(i, x)| state(i) == 1 && x.is_infinite()) {
            continue;
        }
        let held: f64 = (0..n).filter(|i| state(*i) != 2).map(|i| x[i]).sum();
        if !free.is_empty() {
            let over = (free.iter().map(|i| v[*i]).sum::<f64>() + held - sum) / free.len() as f64;
            free.iter().for_each(|i| x[*i] = v[*i] - over);
        }
        let allowed = (0..n).all(|i| x[i] >= lower[i] - 1e-12 && x[i] <= upper[i] + 1e-12);
        if allowed && (x.iter().sum::<f64>() - sum).abs() < 1e-9 {
            let distance = x.iter().zip(v).map(|(x, v)| (x - v).powi(2)).sum();
            if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                best = Some((distance, x));
            }
        }
    }
    best.expect("the region is not empty").1
}

fn distance(x: &[f64], v: &[f64]) -> f64 {
    x.iter().zip(v).map(|(x, v)| (x - v).powi(2)).sum()
}

proptest! {
    #[test]
    fn projections_are_the_nearest_points(
        weights in prop::collection::vec(prop_oneof![1 => Just(0.0), 3 => 0.0..1.0_f64], 4),
        strength in 0.1..4.0_f64,
        bounds in prop::collection::vec((0.0..0.4_f64, 0.0..1.0_f64, any::<bool>()), 4),
        pairs in prop::sample::subsequence(vec!["a+b", "a+c", "b+d", "c+d"], 0..=3),
        max_strength in 1.6..4.0_f64,
    ) {
        prop_assume!(weights.iter().any(|w| *w > 1e-3));
        let mut written = Vec::new();
        let (mut lower, mut upper) = (vec![0.0; 4], vec![f64::INFINITY; 4]);
        for (i, (least, width, required)) in bounds.iter().enumerate() {
            // Required policies are none of a pair, so that something is always allowed.
            if *required && pairs.is_empty() {
                lower[i] = *least;
                written.push(format!("{} >= {least}", NAMES[i]));
            }
            upper[i] = least + width;
            written.push(format!("{} <= {}", NAMES[i], upper[i]));
        }
        let rules = rules(json!({
            "outside": "project", "weights": written, "forbidden_pairs": pairs, "max_strength": max_strength
        }));
        let asked = Preference::from_pairs(NAMES.iter().map(|n| (*n).to_owned()).zip(weights)).unwrap();
        let asked = POOL.soup(&asked, &strong(strength)).unwrap();
        let capped = strength.min(max_strength);
        let v: Vec<f64> = asked.weights().iter().map(|w| w * capped).collect();
        let ruled = rules.apply(&POOL, asked).unwrap();
        let got = acting(&ruled);

        let asked: f64 = v.iter().sum();
        let mut expected: Option<(f64, f64, Vec<f64>)> = None;
        for code in 0..1_usize << pairs.len() {
            let mut upper = upper.clone();
            (0..4).filter(|i| v[*i] == 0.0).for_each(|i| upper[i] = lower[i]);
            for (i, pair) in pairs.iter().enumerate() {
                let leaves = pair.split('+').nth(code >> i & 1).unwrap();
                upper[NAMES.iter().position(|n| *n == leaves).unwrap()] = 0.0;
            }
            let sum = asked.clamp(lower.iter().sum(), upper.iter().sum());
            let x = oracle(&v, &lower, &upper, sum);
            let (gap, far) = ((asked - sum).abs(), distance(&x, &v));
            let nearer = |(least, best, _): &(f64, f64, Vec<f64>)| {
                gap < least - 1e-12 || (gap - least).abs() <= 1e-12 && far < *best
            };
            if expected.as_ref().is_none_or(nearer) {
                expected = Some((gap, far, x));
            }
        }
        let expected = expected.unwrap().2;
        prop_assert!((distance(&got, &v) - distance(&expected, &v)).abs() < 1e-9, "{got:?} is not {expected:?}");
        for (i, x) in got.iter().enumerate() {
            prop_assert!(*x >= lower[i] - 1e-12 && *x <= upper[i] + 1e-12, "{got:?}");
        }
        // Without pairs the nearest point is one.
        if pairs.is_empty() {
            prop_assert!(got.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-9), "{got:?} is not {expected:?}");
        }
        // What is served breaks no rule any more.
        prop_assert!(rules.apply(&POOL, ruled.soup).unwrap().breaches.is_empty());
    }
}
