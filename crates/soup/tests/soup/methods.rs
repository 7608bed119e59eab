//! `ties`, `dare_linear`, `dare_ties` and `slerp` against the papers' equations, worked out here value by value.

use tureen_soup::{MergeOptions, Method, Pool};

use crate::fixture::{Lora, PoolDir, Q0, Q1, V0, base_of, bits, merged, options, preference, soup};
use crate::oracle::{assert_close, exact, plain_delta};

const PAIR: &[(&str, f64)] = &[("a", 0.7), ("b", 0.3)];

fn two() -> ([Lora; 2], Pool) {
    let loras = [Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0])];
    let pool = PoolDir::of(&loras).open();
    (loras, pool)
}

fn with(pool: &Pool, pairs: &[(&str, f64)], method: Method, density: f64, seed: u64) -> Vec<f32> {
    let soup = pool.soup(&preference(pairs), &MergeOptions { density, seed, ..options(method) }).unwrap();
    merged(pool, &soup, Q0)
}

/// Sort by magnitude, keep the first: the plain way.
fn trimmed(mut values: Vec<f64>, keep: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()).then(i.cmp(&j)));
    order[keep..].iter().for_each(|&at| values[at] = 0.0);
    values
}

fn disjoint_mean(parts: &[(f64, Vec<f64>)]) -> Vec<f64> {
    let value = |at: usize| {
        let sum: f64 = parts.iter().map(|(w, d)| w * d[at]).sum();
        let sign = if sum >= 0.0 { 1.0 } else { -1.0 };
        let agreeing = || parts.iter().filter(|(_, d)| d[at] * sign > 0.0);
        let weight: f64 = agreeing().map(|(w, _)| w).sum();
        if weight == 0.0 { 0.0 } else { agreeing().map(|(w, d)| w * d[at]).sum::<f64>() / weight }
    };
    (0..parts[0].1.len()).map(value).collect()
}

#[test]
fn ties_trims_elects_and_averages_those_that_agree() {
    let (loras, pool) = two();
    for (density, keep) in [(1.0, 30), (0.5, 15), (0.34, 10), (0.01, 1)] {
        let parts =
            [(0.7, trimmed(plain_delta(&loras[0], Q0), keep)), (0.3, trimmed(plain_delta(&loras[1], Q0), keep))];
        let expected = exact(Q0, 1.0, &[(1.0, disjoint_mean(&parts))]);
        assert_close(&with(&pool, PAIR, Method::Ties, density, 0), &expected);
    }
}

#[test]
fn ties_with_equal_weights_is_the_papers_mean() {
    let (loras, pool) = two();
    let (x, y) = (plain_delta(&loras[0], Q0), plain_delta(&loras[1], Q0));
    let paper = x.iter().zip(&y).map(|(x, y)| match (x + y >= 0.0, *x > 0.0, *y > 0.0) {
        (true, true, true) | (false, false, false) => (x + y) / 2.0,
        (true, true, false) | (false, false, true) => *x,
        (true, false, true) | (false, true, false) => *y,
        (true, false, false) | (false, true, true) => 0.0,
    });
    let expected = exact(Q0, 1.0, &[(1.0, paper.collect())]);
    assert_close(&with(&pool, &[("a", 1.0), ("b", 1.0)], Method::Ties, 1.0, 0), &expected);
}

/// A sum of exactly 0 counts as positive, as in PEFT and mergekit.
#[test]
fn ties_elects_plus_when_nothing_is_elected() {
    let first = Lora::new("a", 1);
    let mut second = Lora { id: "b".into(), ..first.clone() };
    second.modules.iter_mut().for_each(|m| m.b.iter_mut().for_each(|b| *b = -*b));
    let positive = plain_delta(&first, Q0).into_iter().map(f64::abs).collect();
    let pool = PoolDir::of(&[first, second]).open();
    let merged = with(&pool, &[("a", 1.0), ("b", 1.0)], Method::Ties, 1.0, 0);
    assert_close(&merged, &exact(Q0, 1.0, &[(1.0, positive)]));
}

#[test]
fn ties_keeps_the_first_of_equal_magnitudes() {
    let mut lora = Lora::on("a", 1, 1, &[Q0]);
    lora.modules[0].a = vec![1.0; 5];
    lora.modules[0].b = vec![1.0; 6];
    let pool = PoolDir::of(&[lora]).open();
    let merged = with(&pool, &[("a", 1.0)], Method::Ties, 0.5, 0);
    let changed: Vec<bool> = merged.iter().zip(base_of(Q0)).map(|(m, b)| *m != b).collect();
    assert_eq!(changed, [[true; 15], [false; 15]].concat());
}

#[test]
fn dare_drops_at_random_and_rescales() {
    let (loras, pool) = two();
    let delta = plain_delta(&loras[0], Q0);
    let density = 0.25;
    let mut kept = 0;
    for seed in 0..100 {
        let merged = with(&pool, &[("a", 1.0)], Method::DareLinear, density, seed);
        for ((merged, base), delta) in merged.iter().zip(base_of(Q0)).zip(&delta) {
            let whole = (f64::from(base) + delta / density) as f32;
            assert!(*merged == base || *merged == whole, "{merged} is neither {base} nor {whole}");
            kept += usize::from(*merged == whole);
        }
    }
    // 3000 draws: the share is 0.25 with a standard deviation of 0.008.
    assert!((kept as f64 / 3000.0 - density).abs() < 0.04, "{kept}");
}

#[test]
fn dare_draws_from_seed_policy_and_tensor_alone() {
    let (_, pool) = two();
    let draw = |method, seed| bits(&with(&pool, PAIR, method, 0.5, seed));
    for method in [Method::DareLinear, Method::DareTies] {
        assert_eq!(draw(method, 3), draw(method, 3));
        assert_ne!(draw(method, 3), draw(method, 4));
    }
    // Two tensors of one shape: what is kept of one says nothing of the other.
    let alone = pool.soup(&preference(&[("a", 1.0)]), &options(Method::DareLinear)).unwrap();
    let kept = |name| merged(&pool, &alone, name).iter().zip(base_of(name)).map(|(m, b)| *m != b).collect::<Vec<_>>();
    assert_ne!(kept(Q0), kept(Q1));
    // The same two policies in a larger pool: what is drawn for them is the same.
    let larger = PoolDir::of(&[Lora::new("0", 9), Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0])]).open();
    assert_eq!(bits(&with(&larger, PAIR, Method::DareLinear, 0.5, 3)), draw(Method::DareLinear, 3));
}

#[test]
fn dare_ties_elects_among_what_was_not_dropped() {
    let (_, pool) = two();
    // One policy alone shows what is dropped for it.
    let dropped = |name: &str| -> Vec<f64> {
        let alone = with(&pool, &[(name, 1.0)], Method::DareLinear, 0.5, 5);
        alone.iter().zip(base_of(Q0)).map(|(v, base)| f64::from(*v) - f64::from(base)).collect()
    };
    let expected = exact(Q0, 1.0, &[(1.0, disjoint_mean(&[(0.7, dropped("a")), (0.3, dropped("b"))]))]);
    let merged = with(&pool, PAIR, Method::DareTies, 0.5, 5);
    // The changes went through f32 here.
    assert!(crate::oracle::distance(&merged, &expected) < 1e-6);
}

#[test]
fn with_nothing_dropped_dare_is_the_plain_sum() {
    let (_, pool) = two();
    let linear = merged(&pool, &soup(&pool, PAIR, Method::Linear), Q0);
    assert_eq!(bits(&with(&pool, PAIR, Method::DareLinear, 1.0, 8)), bits(&linear));
    let ties = with(&pool, PAIR, Method::Ties, 1.0, 0);
    assert_eq!(bits(&with(&pool, PAIR, Method::DareTies, 1.0, 8)), bits(&ties));
}

#[test]
fn slerp_goes_along_the_arc() {
    let (loras, pool) = two();
    let (x, y) = (plain_delta(&loras[0], Q0), plain_delta(&loras[1], Q0));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let angle = (dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()).acos();
    let part = |share: f64| (share * angle).sin() / angle.sin();
    let expected = exact(Q0, 1.0, &[(part(0.7), x), (part(0.3), y)]);
    assert_close(&merged(&pool, &soup(&pool, PAIR, Method::Slerp), Q0), &expected);
    // b does not change the second layer: a's part of it alone is left.
    let alone = exact(Q1, 1.0, &[(0.7, plain_delta(&loras[0], Q1))]);
    assert_close(&merged(&pool, &soup(&pool, PAIR, Method::Slerp), Q1), &alone);
}

#[test]
fn slerp_keeps_the_norm_of_changes_of_equal_norm() {
    let mut loras = [Lora::on("a", 1, 1, &[Q0]), Lora::on("b", 1, 1, &[Q0])];
    // B's columns are orthogonal, and so are the products.
    loras[0].modules[0].b = vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    loras[1].modules[0].b = vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let whole = norm(&plain_delta(&loras[0], Q0));
    let pool = PoolDir::of(&loras).open();
    let moved = merged(&pool, &soup(&pool, &[("a", 1.0), ("b", 2.0)], Method::Slerp), Q0);
    let change: Vec<f64> = moved.iter().zip(base_of(Q0)).map(|(v, b)| f64::from(*v) - f64::from(b)).collect();
    assert!((norm(&change) / whole - 1.0).abs() < 1e-6);
}
