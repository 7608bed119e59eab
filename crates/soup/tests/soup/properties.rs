//! What holds for every preference, to the last bit.

use proptest::prelude::*;
use tureen_soup::{MergeOptions, Method, Pool, Preference};

use crate::fixture::{Folder, Lora, PoolDir, Q0, SHAPES, Tensors, base_tensors, bits, merged, numbers};

const METHODS: [Method; 6] =
    [Method::Exact, Method::Factor, Method::Linear, Method::Ties, Method::DareLinear, Method::DareTies];

fn weights() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![4 => 1e-6..1e6_f64, 1 => Just(0.0), 1 => 1e-300..1e-290_f64], 4)
        .prop_filter("one above 0", |w| w.iter().any(|w| *w > 0.0))
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(METHODS.to_vec())
}

/// Changes `(1 + 2⁻¹²)(1 + (2k+1) 2⁻¹²)`, each halfway between two f32: on a base of 0, a rounding anywhere before the
/// last one tips them over.
fn halfway(id: &str) -> Lora {
    let step = 1.0 / 4096.0;
    let mut lora = Lora { alpha: 1.0, ..Lora::on(id, 1, 1, &[Q0]) };
    lora.modules[0].a = (0..5_u8).map(|k| 1.0 + f32::from(2 * k + 1) * step).collect();
    lora.modules[0].b = vec![1.0 + step; 6];
    lora
}

fn halfway_bits(pool: &Pool, preference: &Preference, options: &MergeOptions) -> Vec<u32> {
    let soup = pool.soup(preference, options).unwrap();
    let merged = tureen_soup::merge::tensor(pool, &soup, &format!("{Q0}.weight"), &[6, 5], &[0.0; 30]).unwrap();
    bits(&merged.unwrap())
}

fn all_bits(pool: &Pool, preference: &Preference, options: &MergeOptions) -> Vec<u32> {
    let soup = pool.soup(preference, options).unwrap();
    SHAPES.iter().flat_map(|(name, _)| bits(&merged(pool, &soup, name))).collect()
}

fn named(names: &[&str], weights: &[f64]) -> Preference {
    Preference::from_pairs(names.iter().map(|n| (*n).to_owned()).zip(weights.iter().copied())).unwrap()
}

fn full(seed: u64) -> Tensors {
    let mut tensors = base_tensors();
    for (i, (_, values)) in tensors.values_mut().enumerate() {
        let other = numbers(seed * 50 + i as u64, values.len());
        values.iter_mut().zip(other).for_each(|(v, o)| *v += 0.1 * o);
    }
    tensors
}

/// -0 and values far from the base's: what subtracting and adding the base again would not survive.
fn odd(mut tensors: Tensors) -> Tensors {
    for (_, values) in tensors.values_mut() {
        values[0] = -0.0;
        values[1] = 1e-30;
        values[2] = 3e38;
    }
    tensors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equal_policies_give_that_policy_for_any_weights(weights in weights(), method in method(), strength in 0.1..4.0_f64) {
        let names = ["a", "b", "c", "d"];
        let pool = PoolDir::of(&names.map(|name| Lora::new(name, 1))).open();
        // Nothing may be dropped by chance: that would be drawn for each policy apart.
        let options = MergeOptions { method, strength, density: 1.0, ..MergeOptions::default() };
        let one = all_bits(&pool, &named(&["a"], &[1.0]), &options);
        prop_assert_eq!(all_bits(&pool, &named(&names, &weights), &options), one);
    }

    #[test]
    fn equal_policies_give_that_policy_where_a_single_rounding_would_show(weights in weights(), method in method()) {
        let names = ["a", "b", "c", "d"];
        let pool = PoolDir::of(&names.map(halfway)).open();
        let options = MergeOptions { method, density: 1.0, ..MergeOptions::default() };
        let one = halfway_bits(&pool, &named(&["a"], &[1.0]), &options);
        prop_assert_eq!(halfway_bits(&pool, &named(&names, &weights), &options), one);
    }

    #[test]
    fn equal_checkpoints_give_that_checkpoint_for_any_weights(weights in weights()) {
        let names = ["a", "b", "c", "d"];
        let theta = odd(full(1));
        let pool = PoolDir::new(&names.map(|name| Folder::full(name, &theta))).open();
        let options = MergeOptions { method: Method::Linear, ..MergeOptions::default() };
        let expected: Vec<u32> = SHAPES.iter().flat_map(|(n, _)| bits(&theta[&format!("{n}.weight")].1)).collect();
        prop_assert_eq!(all_bits(&pool, &named(&names, &weights), &options), expected);
    }

    #[test]
    fn the_order_of_a_preference_changes_no_bit(
        weights in weights(),
        method in method(),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let loras: Vec<Lora> = names.iter().zip(1..).map(|(name, seed)| Lora::new(name, seed)).collect();
        let pool = PoolDir::of(&loras).open();
        // The manifest's order changes no weight either, only the revision.
        let turned = PoolDir::of(&order.iter().map(|&i: &usize| loras[i].clone()).collect::<Vec<_>>()).open();
        let options = MergeOptions { method, seed, ..MergeOptions::default() };
        let straight = named(&names, &weights);
        let shuffled_names: Vec<&str> = order.iter().map(|&i| names[i]).collect();
        let shuffled = named(&shuffled_names, &order.iter().map(|&i| weights[i]).collect::<Vec<_>>());
        let bits = all_bits(&pool, &straight, &options);
        prop_assert_eq!(&all_bits(&pool, &shuffled, &options), &bits);
        prop_assert_eq!(&all_bits(&turned, &straight, &options), &bits);
        prop_assert_eq!(
            *pool.soup(&straight, &options).unwrap().id(),
            *pool.soup(&shuffled, &options).unwrap().id()
        );
    }

    #[test]
    fn weights_count_relative_to_each_other(weights in weights(), power in -60..60_i32) {
        let names = ["a", "b", "c", "d"];
        let pool = PoolDir::of(&names.map(|name| Lora::new(name, u64::from(name.as_bytes()[0])))).open();
        // By a power of two, so that scaling rounds nothing but the smallest.
        let weights: Vec<f64> = weights.iter().map(|w| if *w < 1e-200 { 0.0 } else { *w }).collect();
        prop_assume!(weights.iter().any(|w| *w > 0.0));
        let scaled: Vec<f64> = weights.iter().map(|w| w * 2.0_f64.powi(power)).collect();
        let options = MergeOptions::default();
        let (one, other) = (named(&names, &weights), named(&names, &scaled));
        prop_assert_eq!(pool.soup(&one, &options).unwrap(), pool.soup(&other, &options).unwrap());
        let sum: f64 = pool.soup(&one, &options).unwrap().weights().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-12);
    }
}

#[test]
fn merging_is_the_same_on_every_thread_and_again() {
    let pool = PoolDir::of(&[Lora::new("a", 1), Lora::new("b", 2), Lora::new("c", 3)]).open();
    let preference = named(&["a", "b", "c"], &[0.2, 0.5, 0.3]);
    for method in METHODS {
        let options = MergeOptions { method, ..MergeOptions::default() };
        let here = all_bits(&pool, &preference, &options);
        std::thread::scope(|scope| {
            let there: Vec<_> = (0..4).map(|_| scope.spawn(|| all_bits(&pool, &preference, &options))).collect();
            there.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), here));
        });
    }
}

#[test]
fn one_checkpoint_alone_is_served_to_the_last_bit() {
    let theta = odd(full(4));
    let pool = PoolDir::new(&[Folder::full("a", &theta), Folder::full("b", &full(5))]).open();
    let options = MergeOptions { method: Method::Linear, ..MergeOptions::default() };
    let soup = pool.soup(&named(&["a", "b"], &[0.3, 0.0]), &options).unwrap();
    assert_eq!(bits(&merged(&pool, &soup, Q0)), bits(&theta[&format!("{Q0}.weight")].1));
    assert_eq!(bits(&merged(&pool, &soup, "model.norm")), bits(&theta["model.norm.weight"].1));
}
