//! Norms, conflicts and drift against dense products.

use serde_json::json;
use tureen_soup::merge::MergeError;
use tureen_soup::{MergeOptions, Method};

use crate::fixture::{
    Folder, Lora, PoolDir, Q0, Q1, SHAPES, Tensors, V0, base_tensors, numbers, options, preference, soup,
};
use crate::oracle::{delta, plain_delta};

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{got} is not {expected}");
}

fn product(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    x.iter().flatten().zip(y.iter().flatten()).map(|(x, y)| x * y).sum()
}

fn dense(lora: &Lora) -> Vec<Vec<f64>> {
    SHAPES.iter().map(|(name, _)| plain_delta(lora, name)).collect()
}

#[test]
fn gram_is_the_dense_product() {
    let loras = [Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0]), Lora::on("c", 3, 1, &[Q1])];
    let pool = PoolDir::of(&loras).open();
    for (i, x) in loras.iter().enumerate() {
        close(pool.norms()[i], product(&dense(x), &dense(x)).sqrt());
        for (j, y) in loras.iter().enumerate() {
            let expected = product(&dense(x), &dense(y));
            close(pool.gram()[i][j], expected);
            let norms = (product(&dense(x), &dense(x)) * product(&dense(y), &dense(y))).sqrt();
            close(pool.conflicts()[i][j], expected / norms);
        }
    }
    // b and c share no module.
    assert_eq!(pool.conflicts()[1][2], 0.0);
}

#[test]
fn rslora_and_own_alphas_count() {
    let lora = Lora::on("a", 1, 4, &[Q0]).config(json!({"use_rslora": true, "alpha_pattern": {"q_proj": 3}}));
    let expected = delta(lora.module(Q0).unwrap(), 1.5);
    let pool = PoolDir::of(&[lora]).open();
    close(pool.norms()[0], expected.iter().map(|v| v * v).sum::<f64>().sqrt());
}

#[test]
fn drift_is_the_norm_of_the_change() {
    let loras = [Lora::new("a", 1), Lora::new("b", 2)];
    let pool = PoolDir::of(&loras).open();
    let options = MergeOptions { strength: 1.5, ..MergeOptions::default() };
    let soup_of = |pairs: &[(&str, f64)]| pool.soup(&preference(pairs), &options).unwrap();
    let mixed: Vec<Vec<f64>> = dense(&loras[0])
        .iter()
        .zip(dense(&loras[1]))
        .map(|(x, y)| x.iter().zip(y).map(|(x, y)| 1.5 * (0.25 * x + 0.75 * y)).collect())
        .collect();
    close(pool.drift(&soup_of(&[("a", 1.0), ("b", 3.0)])), product(&mixed, &mixed).sqrt());
    close(pool.drift(&soup_of(&[("a", 1.0)])), 1.5 * pool.norms()[0]);
    assert_eq!(pool.drift(&soup_of(&[])), 0.0);
}

#[test]
fn policies_that_cancel_do_not_drift() {
    let first = Lora::new("a", 1);
    let mut second = Lora { id: "b".into(), ..first.clone() };
    second.modules.iter_mut().for_each(|m| m.b.iter_mut().for_each(|b| *b = -*b));
    let pool = PoolDir::of(&[first, second]).open();
    assert_eq!(pool.conflicts()[0][1], -1.0);
    let drift = pool.drift(&soup(&pool, &[("a", 1.0), ("b", 1.0)], Method::Exact));
    assert!((0.0..1e-6).contains(&drift), "{drift}");
}

#[test]
fn a_policy_that_changes_nothing_has_no_direction() {
    let mut still = Lora::new("still", 1);
    still.modules.iter_mut().for_each(|m| m.b.fill(0.0));
    let pool = PoolDir::of(&[Lora::new("a", 2), still]).open();
    assert_eq!(pool.norms()[1], 0.0);
    assert_eq!((pool.conflicts()[0][1], pool.conflicts()[1][1]), (0.0, 0.0));
}

fn moved(seed: u64) -> Tensors {
    let mut tensors = base_tensors();
    for (i, (_, values)) in tensors.values_mut().enumerate() {
        let other = numbers(seed * 31 + i as u64, values.len());
        values.iter_mut().zip(other).for_each(|(v, o)| *v += o);
    }
    tensors
}

#[test]
fn full_policies_are_measured_with_the_base() {
    let (x, y, lora) = (moved(1), moved(2), Lora::new("lora", 3));
    let dir = PoolDir::new(&[Folder::full("x", &x), Folder::full("y", &y), Folder::from(&lora)]);
    let mut pool = dir.open();
    let ids: Vec<&str> = pool.policies().iter().map(|p| p.id().as_ref()).collect();
    assert_eq!(ids, ["lora", "x", "y"]);
    assert!(pool.norms()[0] > 0.0 && pool.norms()[1].is_nan() && pool.conflicts()[0][1].is_nan());
    // JSON has no NaN: it is written as null.
    assert_eq!(serde_json::to_value(pool.norms()).unwrap()[1], serde_json::Value::Null);
    let linear = soup(&pool, &[("x", 1.0)], Method::Linear);
    assert!(pool.drift(&linear).is_nan());
    assert!(!pool.drift(&soup(&pool, &[("lora", 1.0)], Method::Exact)).is_nan());

    let mut base = base_tensors();
    pool.measure(|name| base.get(name).map(|(_, values)| values.clone())).unwrap();
    let deltas = |theta: &Tensors| -> Vec<Vec<f64>> {
        let pairs = theta.iter().map(|(name, (_, values))| {
            values.iter().zip(&base_tensors()[name].1).map(|(t, b)| f64::from(*t) - f64::from(*b)).collect()
        });
        pairs.collect()
    };
    let of_lora = |name: &String| match name.strip_suffix(".weight").filter(|m| lora.module(m).is_some()) {
        Some(module) => plain_delta(&lora, module),
        None => vec![0.0; x[name].1.len()],
    };
    let all = [x.keys().map(of_lora).collect::<Vec<_>>(), deltas(&x), deltas(&y)];
    for (i, first) in all.iter().enumerate() {
        for (j, second) in all.iter().enumerate() {
            close(pool.gram()[i][j], product(first, second));
        }
    }
    close(pool.drift(&linear), product(&all[1], &all[1]).sqrt());

    // A base that lacks a tensor leaves everything as it was.
    base.remove("model.norm.weight");
    let mut again = dir.open();
    again.measure(|name| base.get(name).map(|(_, values)| values.clone())).unwrap();
    assert!(again.norms()[1].is_nan());
    let wrong = again.measure(|_| Some(vec![0.0]));
    assert!(matches!(wrong, Err(MergeError::Shape { .. })));
    let both = again.soup(&preference(&[("x", 1.0), ("lora", 0.0)]), &options(Method::Linear)).unwrap();
    assert!(again.drift(&both).is_nan());
}
