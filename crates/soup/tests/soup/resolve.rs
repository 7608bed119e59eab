//! From preferences to soups and their ids.

use std::collections::BTreeSet;

use tureen_soup::{BaseIdentity, MergeOptions, Method, Pool, Preference};

use crate::fixture::{Folder, Lora, PoolDir, base_tensors, options, preference, soup};

fn pool() -> Pool {
    PoolDir::of(&[Lora::new("concise", 1), Lora::new("friendly", 2), Lora::new("expert", 3)]).open()
}

#[test]
fn weights_are_in_the_pools_order_and_sum_to_one() {
    let pool = pool();
    let ids: Vec<&str> = pool.policies().iter().map(|p| p.id().as_ref()).collect();
    assert_eq!(ids, ["concise", "expert", "friendly"]);
    assert_eq!(pool.index_of("expert"), Some(1));
    assert_eq!(pool.index_of("nobody"), None);
    assert_eq!(soup(&pool, &[("friendly", 1.0), ("concise", 3.0)], Method::Exact).weights(), [0.75, 0.0, 0.25]);
    assert_eq!(soup(&pool, &[("friendly", 0.4), ("concise", 0.6)], Method::Exact).weights(), [0.6, 0.0, 0.4]);
    for large in [1e39, 1e308, f64::MAX] {
        assert_eq!(soup(&pool, &[("friendly", large), ("concise", large)], Method::Exact).weights(), [0.5, 0.0, 0.5]);
    }
    assert_eq!(soup(&pool, &[("expert", 5e-324)], Method::Exact).weights(), [0.0, 1.0, 0.0]);
}

#[test]
fn refusals_have_codes() {
    let pool = pool();
    let refused = |pairs: &[(&str, f64)], options: MergeOptions| {
        let error = pool.soup(&preference(pairs), &options).unwrap_err();
        (error.code(), error.to_string())
    };
    let default = MergeOptions::default;
    let (code, text) = refused(&[("nobody", 1.0)], default());
    assert_eq!(code, "unknown_policy");
    assert!(text.contains("\"nobody\"") && text.contains("concise, expert, friendly"), "{text}");
    assert_eq!(refused(&[("concise", 0.0), ("expert", 0.0)], default()).0, "zero_weights");
    assert_eq!(refused(&[("concise", 0.5)], MergeOptions { normalize: false, ..default() }).0, "not_normalised");
    let off = |weight| refused(&[("concise", weight)], MergeOptions { normalize: false, ..default() }).0;
    assert_eq!((off(1.0011), off(0.9989), off(f64::MAX)), ("not_normalised", "not_normalised", "not_normalised"));
    for strength in [-0.1, 4.1, f64::NAN, f64::INFINITY, 1e39] {
        assert_eq!(refused(&[("concise", 1.0)], MergeOptions { strength, ..default() }).0, "invalid_strength");
    }
    for density in [0.0, -1.0, 1.1, f64::NAN] {
        let options = MergeOptions { density, ..options(Method::Ties) };
        assert_eq!(refused(&[("concise", 1.0)], options).0, "invalid_density");
    }
    for count in [1, 3] {
        let pairs = &[("concise", 1.0), ("expert", 1.0), ("friendly", 1.0)][..count];
        assert_eq!(refused(pairs, options(Method::Slerp)).0, "method_needs_two_policies");
    }
    assert_eq!(refused(&[("concise", 1.0)], options(Method::Logits)).0, "method_not_supported");
}

#[test]
fn without_normalize_weights_stay_as_they_are() {
    let pool = pool();
    let options = MergeOptions { normalize: false, ..MergeOptions::default() };
    let soup = pool.soup(&preference(&[("concise", 0.3), ("expert", 0.7009)]), &options).unwrap();
    assert_eq!(soup.weights(), [0.3, 0.7009, 0.0]);
}

#[test]
fn factors_are_asked_of_policies_that_have_them() {
    let pool = PoolDir::new(&[Folder::from(&Lora::new("concise", 1)), Folder::full("whole", &base_tensors())]).open();
    for method in [Method::Exact, Method::Factor] {
        let error = pool.soup(&preference(&[("whole", 0.5), ("concise", 0.5)]), &options(method)).unwrap_err();
        assert_eq!(error.code(), "method_not_for_kind");
        assert!(error.to_string().contains("use linear"), "{error}");
        // A weight of 0 asks nothing of it.
        soup(&pool, &[("whole", 0.0), ("concise", 0.5)], method);
    }
    let linear = soup(&pool, &[("whole", 0.5), ("concise", 0.5)], Method::Linear);
    assert!(!pool.supports_gate(&linear));
    assert!(!pool.supports_gate(&soup(&pool, &[("concise", 1.0)], Method::Linear)));
    assert!(pool.supports_gate(&soup(&pool, &[("concise", 1.0)], Method::Exact)));
    assert!(pool.supports_gate(&soup(&pool, &[], Method::Exact)));
}

#[test]
fn ids_name_what_is_served() {
    let pool = pool();
    let id = |pairs: &[(&str, f64)], options: MergeOptions| *pool.soup(&preference(pairs), &options).unwrap().id();
    let both = &[("concise", 0.6), ("friendly", 0.4)][..];
    let default = MergeOptions::default;
    let first = id(both, default());
    assert_eq!(first.to_string().len(), 34);
    assert!(first.to_string().starts_with("s-"));
    // The same wish in other words.
    assert_eq!(first, id(&[("friendly", 0.4), ("concise", 0.6), ("expert", 0.0)], default()));
    assert_eq!(first, id(both, MergeOptions { seed: 7, density: 0.1, ..default() }));
    assert_eq!(id(&[], default()), id(&[], options(Method::Ties)));
    assert_eq!(id(&[], default()), id(both, MergeOptions { strength: -0.0, ..default() }));
    // Weights that sum to 1 need no normalising, and are the same for it.
    assert_eq!(first, id(both, MergeOptions { normalize: false, ..default() }));
    // Other soups.
    let dare = |seed, density| id(both, MergeOptions { seed, density, ..options(Method::DareTies) });
    let others = [
        first,
        id(&[], default()),
        id(&[("concise", 0.4), ("friendly", 0.6)], default()),
        id(&[("concise", 0.6), ("expert", 0.4)], default()),
        id(both, MergeOptions { strength: 1.5, ..default() }),
        id(both, options(Method::Factor)),
        id(both, options(Method::Linear)),
        id(both, options(Method::Ties)),
        id(both, MergeOptions { density: 0.25, ..options(Method::Ties) }),
        dare(0, 0.5),
        dare(1, 0.5),
        dare(0, 0.75),
    ];
    assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len());
    assert_eq!(soup(&pool, both, Method::Exact).revision(), pool.revision());
}

#[test]
fn the_base_is_recognised() {
    let pool = pool();
    assert!(soup(&pool, &[], Method::Exact).is_base());
    assert!(!soup(&pool, &[("concise", 1.0)], Method::Exact).is_base());
    let still = MergeOptions { strength: 0.0, ..MergeOptions::default() };
    assert!(pool.soup(&preference(&[("concise", 1.0)]), &still).unwrap().is_base());
}

#[test]
fn an_empty_pool_serves_the_base_alone() {
    let base = BaseIdentity { name: "m".into(), sha256: "00".into(), vocabulary_sha256: "11".into() };
    let pool = Pool::empty(base.clone());
    assert!(pool.policies().is_empty() && pool.conflicts().is_empty() && pool.changed_files().is_empty());
    assert_eq!(pool.base(), &base);
    let soup = pool.soup(&Preference::default(), &MergeOptions::default()).unwrap();
    assert!(soup.is_base() && pool.supports_gate(&soup) && pool.drift(&soup) == 0.0);
    let error = pool.soup(&preference(&[("concise", 1.0)]), &MergeOptions::default()).unwrap_err();
    assert_eq!(error.code(), "unknown_policy");
    let other = Pool::empty(BaseIdentity { sha256: "01".into(), ..base });
    assert_ne!(pool.revision(), other.revision());
}
