//! The known traps of merging, one test each.

use serde_json::json;
use tureen_soup::merge::as_peft;
use tureen_soup::{MergeOptions, Method};

use crate::fixture::{Lora, PoolDir, Q0, Q1, SHAPES, V0, base_of, merged, options, preference, soup};
use crate::oracle::{assert_close, delta, distance, exact, plain_delta};

const HALVES: &[(&str, f64)] = &[("a", 0.5), ("b", 0.5)];

fn difference(values: Vec<f64>, name: &str) -> Vec<f64> {
    values.iter().zip(base_of(name)).map(|(v, base)| v - f64::from(base)).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The product of the averages is another matrix than the average of the products.
#[test]
fn averaging_factors_is_not_averaging_products() {
    let loras = [Lora::new("a", 1), Lora::new("b", 2)];
    let pool = PoolDir::of(&loras).open();
    let products = exact(Q0, 1.0, &loras.each_ref().map(|l| (0.5, plain_delta(l, Q0))));
    let mut mean = loras[0].module(Q0).unwrap().clone();
    let other = loras[1].module(Q0).unwrap();
    let average = |x: &mut Vec<f32>, y: &[f32]| x.iter_mut().zip(y).for_each(|(x, y)| *x = (*x + y) / 2.0);
    average(&mut mean.a, &other.a);
    average(&mut mean.b, &other.b);
    let factors = exact(Q0, 1.0, &[(1.0, delta(&mean, 2.0))]);

    assert_close(&merged(&pool, &soup(&pool, HALVES, Method::Exact), Q0), &products);
    // The oracle's means are rounded to f32, hence not within one rounding.
    let factor = merged(&pool, &soup(&pool, HALVES, Method::Factor), Q0);
    assert!(distance(&factor, &factors) < 1e-6);
    assert!(distance(&factor, &products) > 0.05);
}

/// PEFT's `linear` puts sqrt(w) on both factors and adds them up. With one A for all, which is how these policies are
/// trained, the cross terms add up to `(Σ sqrt(w))²` times too much instead of averaging out.
#[test]
fn weights_are_not_square_rooted() {
    let first = Lora::new("a", 1);
    let mut second = Lora::new("b", 2);
    for (module, same) in second.modules.iter_mut().zip(&first.modules) {
        module.a = same.a.clone();
        module.b = same.b.clone();
    }
    let truth = exact(Q0, 1.0, &[(1.0, plain_delta(&first, Q0))]);
    let sqrt = exact(Q0, 1.0, &[((2.0 * 0.5_f64.sqrt()).powi(2), plain_delta(&first, Q0))]);
    let pool = PoolDir::of(&[first, second]).open();
    for method in [Method::Exact, Method::Linear, Method::Factor] {
        let soup = merged(&pool, &soup(&pool, HALVES, method), Q0);
        assert_close(&soup, &truth);
        assert!((norm(&difference(sqrt.clone(), Q0)) / norm(&difference(truth.clone(), Q0)) - 2.0).abs() < 1e-9);
        assert!(distance(&soup, &sqrt) > 0.1);
    }
}

/// PEFT's `svd` multiplied with the scale and left alpha in the adapter it made, so that the scale acted twice. Here a
/// soup is written, read again as a policy, and served alone: nothing may change.
#[test]
fn scales_act_once_on_the_way_through_an_adapter() {
    let loras = [Lora { alpha: 7.0, ..Lora::new("a", 1) }, Lora { alpha: 3.0, ..Lora::on("b", 2, 3, &[Q0, V0]) }];
    let pool = PoolDir::of(&loras).open();
    let options = MergeOptions { strength: 1.5, ..options(Method::Exact) };
    let original = pool.soup(&preference(&[("a", 0.7), ("b", 0.3)]), &options).unwrap();

    let again = PoolDir::of(&[Lora::new("soup", 9)]);
    as_peft(&pool, &original).unwrap().write(&again.file("soup"), "pretended").unwrap();
    let read = |name: &str| crate::fixture::sha256(&std::fs::read(again.file("soup").join(name)).unwrap());
    let text = again.manifest();
    let lines = text.lines().map(|line| match line.split_once("\" = ") {
        Some((name, _)) => format!("{name}\" = \"{}\"", read(name.trim_start_matches('"'))),
        None => line.to_owned(),
    });
    again.write_manifest(&lines.collect::<Vec<_>>().join("\n"));
    let pool_again = again.open();
    let alone = soup(&pool_again, &[("soup", 1.0)], Method::Exact);
    for (name, _) in SHAPES {
        let expected: Vec<f64> = merged(&pool, &original, name).into_iter().map(f64::from).collect();
        // B was rounded to f32 once more.
        assert!(distance(&merged(&pool_again, &alone, name), &expected) < 2e-6);
    }
}

/// Each policy's own alpha, and each module's, not the first one's.
#[test]
fn alphas_are_their_own() {
    let pattern = json!({"alpha_pattern": {"v_proj": 5.0, "layers.1.self_attn.q_proj": 9}});
    let loras = [
        Lora { alpha: 1.0, ..Lora::new("a", 1) },
        Lora { alpha: 64.0, ..Lora::new("b", 2) },
        Lora { alpha: 2.0, ..Lora::new("c", 3).config(pattern) },
    ];
    let pool = PoolDir::of(&loras).open();
    let soup = soup(&pool, &[("a", 1.0), ("b", 1.0), ("c", 2.0)], Method::Exact);
    for (name, alpha_of_c) in [(Q0, 2.0), (V0, 5.0), (Q1, 9.0)] {
        let c = delta(loras[2].module(name).unwrap(), alpha_of_c / 2.0);
        let parts = [(0.25, plain_delta(&loras[0], name)), (0.25, plain_delta(&loras[1], name)), (0.5, c)];
        assert_close(&merged(&pool, &soup, name), &exact(name, 1.0, &parts));
    }
}

/// With different alphas, `factor` scales each policy's B by its own.
#[test]
fn factor_scales_each_b_by_its_own_alpha() {
    let loras = [Lora { alpha: 1.0, ..Lora::new("a", 1) }, Lora { alpha: 8.0, ..Lora::new("b", 2) }];
    let pool = PoolDir::of(&loras).open();
    let merged = merged(&pool, &soup(&pool, &[("a", 0.75), ("b", 0.25)], Method::Factor), Q0);
    // Expanded: Σ_i Σ_j w_i w_j s_i B_i A_j.
    let weights = [0.75, 0.25];
    let mut parts = Vec::new();
    for (i, wi) in weights.iter().enumerate() {
        for (j, wj) in weights.iter().enumerate() {
            let mut cross = loras[i].module(Q0).unwrap().clone();
            cross.a = loras[j].module(Q0).unwrap().a.clone();
            parts.push((wi * wj, delta(&cross, loras[i].alpha / 2.0)));
        }
    }
    assert_close(&merged, &exact(Q0, 1.0, &parts));
}

/// Ranks and target modules may differ from policy to policy, and ranks within one.
#[test]
fn unequal_ranks_and_targets_work() {
    let mut mixed = Lora::on("c", 3, 4, &[Q0, V0]);
    mixed.modules[1] = crate::fixture::Module::new(V0, 1, 77);
    let mixed = mixed.config(json!({"rank_pattern": {"v_proj": 1}}));
    let loras = [Lora::on("a", 1, 1, &[Q0]), Lora::on("b", 2, 5, &[V0, Q1]), mixed];
    let pool = PoolDir::of(&loras).open();
    let weights = [0.2, 0.3, 0.5];
    let soup_of = |method| soup(&pool, &[("a", 0.2), ("b", 0.3), ("c", 0.5)], method);
    for (name, _) in SHAPES {
        // alpha of the whole policy over the module's own rank
        let parts: Vec<_> = loras.iter().zip(weights).map(|(l, w)| (w, plain_delta(l, name))).collect();
        assert_close(&merged(&pool, &soup_of(Method::Exact), name), &exact(name, 1.0, &parts));
    }
    // factor: the smaller rank is padded with zeros, the absent policy is zeros.
    let (b, c) = (loras[1].module(V0).unwrap(), loras[2].module(V0).unwrap());
    let mut expected = exact(V0, 1.0, &[]);
    for o in 0..3 {
        for i in 0..5 {
            for k in 0..5 {
                let (own_b, own_c) =
                    (f64::from(b.b[o * 5 + k]) * 2.0, if k == 0 { f64::from(c.b[o]) * 8.0 } else { 0.0 });
                let (a_b, a_c) = (f64::from(b.a[k * 5 + i]), if k == 0 { f64::from(c.a[i]) } else { 0.0 });
                expected[o * 5 + i] += (0.3 * own_b + 0.5 * own_c) * (0.3 * a_b + 0.5 * a_c);
            }
        }
    }
    assert_close(&merged(&pool, &soup_of(Method::Factor), V0), &expected);
}

/// rsLoRA divides by the root of the rank (arXiv 2312.03732).
#[test]
fn rslora_scales_by_the_root_of_the_rank() {
    let lora = Lora::on("a", 1, 4, &[Q0]).config(json!({"use_rslora": true}));
    let plain = Lora::on("b", 2, 4, &[Q0]);
    let pool = PoolDir::of(&[lora.clone(), plain.clone()]).open();
    let rs = delta(lora.module(Q0).unwrap(), 8.0 / 2.0);
    assert_close(
        &merged(&pool, &soup(&pool, HALVES, Method::Exact), Q0),
        &exact(Q0, 1.0, &[(0.5, rs), (0.5, plain_delta(&plain, Q0))]),
    );
}

/// Two policies at half each and strength 2 both act in full.
#[test]
fn strength_scales_the_whole_change() {
    let loras = [Lora::new("a", 1), Lora::new("b", 2)];
    let pool = PoolDir::of(&loras).open();
    let options = MergeOptions { strength: 2.0, ..options(Method::Exact) };
    let both = pool.soup(&preference(HALVES), &options).unwrap();
    let sum = exact(Q0, 1.0, &loras.each_ref().map(|l| (1.0, plain_delta(l, Q0))));
    assert_close(&merged(&pool, &both, Q0), &sum);
}

/// DoRA and trained biases are refused by name, never served without the part that is missing.
#[test]
fn dora_and_bias_are_refused_by_name() {
    for (config, name) in
        [(json!({"use_dora": true}), "DoRA"), (json!({"bias": "all"}), "bias"), (json!({"bias": "lora_only"}), "bias")]
    {
        let problems = PoolDir::of(&[Lora::new("a", 1).config(config)]).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(name) && problems[0].contains("policy a"), "{problems:?}");
    }
}
