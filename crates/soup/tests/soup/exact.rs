//! `exact` and `linear` over LoRA policies against the dense sum.

use tureen_soup::merge::{self, MergeError};
use tureen_soup::{MergeOptions, Method, Pool};

use crate::fixture::{
    Lora, PoolDir, Q0, Q1, SHAPES, V0, base_of, bits, merged, options, preference, safetensors, soup,
};
use crate::oracle::{assert_close, exact, plain_delta};

fn three() -> [Lora; 3] {
    [Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0]), Lora::on("c", 3, 1, &[Q1, V0])]
}

#[test]
fn a_soup_is_the_weighted_sum_of_the_changes() {
    let loras = three();
    let pool = PoolDir::of(&loras).open();
    let weights = [0.5, 0.3, 0.2];
    for method in [Method::Exact, Method::Linear] {
        for strength in [0.5, 1.0, 4.0] {
            let options = MergeOptions { strength, ..options(method) };
            let soup = pool.soup(&preference(&[("a", 0.5), ("b", 0.3), ("c", 0.2)]), &options).unwrap();
            for (name, _) in SHAPES {
                let parts: Vec<_> = loras.iter().zip(weights).map(|(l, w)| (w, plain_delta(l, name))).collect();
                assert_close(&merged(&pool, &soup, name), &exact(name, strength, &parts));
            }
        }
    }
}

#[test]
fn one_policy_alone_is_served_to_the_last_bit() {
    let loras = three();
    let pool = PoolDir::of(&loras).open();
    for lora in &loras {
        for weight in [1.0, 0.1, 1e300] {
            let soup = soup(&pool, &[(&lora.id, weight)], Method::Exact);
            for (name, _) in SHAPES {
                let pairs = base_of(name).into_iter().zip(plain_delta(lora, name));
                let expected = pairs.map(|(w, d)| (f64::from(w) + d) as f32);
                assert_eq!(bits(&merged(&pool, &soup, name)), bits(&expected.collect::<Vec<_>>()));
            }
        }
    }
}

#[test]
fn only_what_a_weighted_policy_changes_is_touched() {
    let pool = PoolDir::of(&three()).open();
    let weight = |name: &str| format!("{name}.weight");
    assert_eq!(merge::touched(&pool, &soup(&pool, &[("a", 1.0)], Method::Exact)), [Q0, V0, Q1].map(weight));
    assert_eq!(merge::touched(&pool, &soup(&pool, &[("b", 1.0), ("a", 0.0)], Method::Exact)), [Q0, V0].map(weight));
    assert_eq!(merge::touched(&pool, &soup(&pool, &[], Method::Exact)), [""; 0]);
    let still = MergeOptions { strength: 0.0, ..MergeOptions::default() };
    let still = pool.soup(&preference(&[("a", 1.0)]), &still).unwrap();
    assert_eq!(merge::touched(&pool, &still), [""; 0]);

    let b = soup(&pool, &[("b", 1.0)], Method::Exact);
    let get = |soup, name: &str, shape: &[usize], base: &[f32]| merge::tensor(&pool, soup, name, shape, base).unwrap();
    assert_eq!(get(&b, &weight(Q1), &[6, 5], &base_of(Q1)), None);
    assert_eq!(get(&b, "model.norm.weight", &[5], &[0.0; 5]), None);
    assert_eq!(get(&b, Q0, &[6, 5], &base_of(Q0)), None, "the tensor's name ends in .weight");
    assert_eq!(get(&still, &weight(Q0), &[6, 5], &base_of(Q0)), None);
}

#[test]
fn half_precision_factors_are_read_for_what_they_are() {
    use safetensors::Dtype;
    for dtype in [Dtype::F16, Dtype::BF16] {
        let lora = Lora { dtype, ..Lora::new("a", 5) };
        let rounded = |v: &f32| match dtype {
            Dtype::F16 => half::f16::from_f32(*v).to_f32(),
            _ => half::bf16::from_f32(*v).to_f32(),
        };
        let mut stored = lora.clone();
        for module in &mut stored.modules {
            module.a = module.a.iter().map(rounded).collect();
            module.b = module.b.iter().map(rounded).collect();
        }
        assert_eq!(safetensors(&stored.tensors(), dtype), safetensors(&lora.tensors(), dtype));
        let pool = PoolDir::of(&[lora]).open();
        let merged = merged(&pool, &soup(&pool, &[("a", 1.0)], Method::Exact), Q0);
        assert_close(&merged, &exact(Q0, 1.0, &[(1.0, plain_delta(&stored, Q0))]));
    }
}

#[test]
fn callers_that_mix_things_up_are_told() {
    let pool = PoolDir::of(&three()).open();
    let other = PoolDir::of(&[Lora::new("a", 99)]).open();
    let a = soup(&pool, &[("a", 1.0)], Method::Exact);
    let call = |pool: &Pool, shape: &[usize], base: &[f32]| {
        merge::tensor(pool, &a, &format!("{Q0}.weight"), shape, base).unwrap_err()
    };
    assert!(matches!(call(&other, &[6, 5], &base_of(Q0)), MergeError::OtherRevision { .. }));
    assert!(matches!(call(&pool, &[6, 6], &base_of(Q0)), MergeError::Shape { .. }));
    assert!(matches!(call(&pool, &[5, 6], &base_of(Q0)), MergeError::Shape { .. }));
    assert!(matches!(call(&pool, &[30], &base_of(Q0)), MergeError::Shape { .. }));
    assert!(matches!(call(&pool, &[6, 5], &[f32::NAN; 30]), MergeError::NotFinite { .. }));
}

#[test]
fn a_sum_beyond_f32_is_an_error_not_infinity() {
    let mut lora = Lora::new("a", 1);
    lora.modules.iter_mut().for_each(|m| m.b.iter_mut().for_each(|b| *b = 3e38));
    lora.modules.iter_mut().for_each(|m| m.a.iter_mut().for_each(|a| *a = 2.0));
    let pool = PoolDir::of(&[lora]).open();
    let soup = soup(&pool, &[("a", 1.0)], Method::Exact);
    let error = merge::tensor(&pool, &soup, &format!("{Q0}.weight"), &[6, 5], &base_of(Q0)).unwrap_err();
    assert!(error.to_string().contains("smaller strength"), "{error}");
}
