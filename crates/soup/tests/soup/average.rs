//! Soups of full-weight policies as one sum of what is stored.

use std::collections::BTreeMap;
use std::fs;

use half::bf16;
use safetensors::Dtype;
use tureen_soup::merge::{MergeError, Source, average};
use tureen_soup::{MergeOptions, Method, PolicyWeights, Pool, Soup};

use crate::fixture::{
    Folder, Lora, PoolDir, Q0, Tensors, base_of, base_tensors, merged, numbers, options, preference, safetensors,
};

const NAME: &str = "model.layers.0.self_attn.q_proj.weight";
const SHAPE: [usize; 2] = [6, 5];

fn theta(seed: u64) -> Tensors {
    let mut tensors = base_tensors();
    for (i, (_, values)) in tensors.values_mut().enumerate() {
        *values = numbers(seed * 20 + i as u64, values.len());
    }
    tensors
}

fn stored(id: &str, tensors: &Tensors, dtype: Dtype) -> Folder {
    let files = BTreeMap::from([("model.safetensors".to_owned(), safetensors(tensors, dtype))]);
    Folder { id: id.into(), kind: "full", files }
}

fn pool() -> PoolDir {
    let folders = [("x", 1), ("y", 2), ("z", 3)].map(|(id, seed)| stored(id, &theta(seed), Dtype::BF16));
    PoolDir::new(&folders)
}

fn soup(pool: &Pool, wish: &[(&str, f64)], options: &MergeOptions) -> Soup {
    pool.soup(&preference(wish), options).unwrap()
}

/// The sum, computed in f64 from what the sources say.
fn summed(pool: &Pool, soup: &Soup) -> Option<Vec<f64>> {
    let average = average(pool, soup, NAME, &SHAPE).unwrap()?;
    let values = |source: &Source<'_>| -> Vec<f64> {
        match source {
            Source::Base => base_of(Q0).into_iter().map(f64::from).collect(),
            Source::Policy(full) => {
                let mut values = vec![bf16::ZERO; 30];
                // In two pieces, the second one of odd length.
                let (first, second) = values.split_at_mut(13);
                full.copy_bf16(NAME, 0, first).unwrap();
                full.copy_bf16(NAME, 13, second).unwrap();
                values.into_iter().map(f64::from).collect()
            }
        }
    };
    let anchor = values(&average.terms[0].0);
    let mut sum = anchor.clone();
    for (source, weight) in &average.terms[1..] {
        let values = values(source);
        sum.iter_mut().zip(values.iter().zip(&anchor)).for_each(|(sum, (x, a))| *sum += weight * (x - a));
    }
    Some(sum)
}

#[test]
fn the_sum_is_what_merging_computes() {
    let dir = pool();
    let pool = dir.open();
    for (wish, strength) in [
        (&[("x", 0.2), ("y", 0.5), ("z", 0.3)][..], 1.0),
        (&[("x", 0.2), ("y", 0.5), ("z", 0.3)], 1.6),
        (&[("z", 1.0)], 1.0),
        (&[("z", 1.0)], 0.5),
    ] {
        let soup = soup(&pool, wish, &MergeOptions { strength, ..options(Method::Linear) });
        let expected = merged(&pool, &soup, Q0);
        for (ours, expected) in summed(&pool, &soup).unwrap().iter().zip(&expected) {
            assert!((ours - f64::from(*expected)).abs() < 1e-6, "{wish:?} {strength}: {ours} is not {expected}");
        }
    }
}

#[test]
fn it_goes_round_the_policy_of_the_largest_weight() {
    let dir = pool();
    let pool = dir.open();
    let soup = soup(&pool, &[("x", 0.2), ("y", 0.5), ("z", 0.3)], &options(Method::Linear));
    let average = average(&pool, &soup, NAME, &SHAPE).unwrap().unwrap();
    let weights: Vec<f64> = average.terms.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [0.5, 0.2, 0.3]);
    let PolicyWeights::Full(y) = pool.policies()[1].weights() else { panic!("not full") };
    assert!(matches!(average.terms[0].0, Source::Policy(full) if std::ptr::eq(full, y)));
}

#[test]
fn what_is_no_such_sum_is_left_to_merging() {
    let dir = pool();
    let pool = dir.open();
    let wish = [("x", 0.5), ("y", 0.5)];
    let none = |pool: &Pool, soup: &Soup, name| average(pool, soup, name, &SHAPE).unwrap().is_none();
    assert!(none(&pool, &soup(&pool, &wish, &options(Method::Ties)), NAME));
    assert!(none(&pool, &soup(&pool, &[], &options(Method::Linear)), NAME));
    assert!(none(&pool, &soup(&pool, &wish, &options(Method::Linear)), "model.no.such.weight"));
    let folders = [
        stored("x", &theta(1), Dtype::F32),
        stored("y", &theta(2), Dtype::BF16),
        Folder::from(&Lora::on("low", 2, 2, &[Q0])),
    ];
    let mixed = PoolDir::new(&folders);
    let mixed = mixed.open();
    assert!(none(&mixed, &soup(&mixed, &wish, &options(Method::Linear)), NAME));
    assert!(none(&mixed, &soup(&mixed, &[("y", 0.5), ("low", 0.5)], &options(Method::Linear)), NAME));
    let other = soup(&mixed, &wish, &options(Method::Linear));
    assert!(matches!(average(&pool, &other, NAME, &SHAPE), Err(MergeError::OtherRevision { .. })));
    let wrong = average(&pool, &soup(&pool, &wish, &options(Method::Linear)), NAME, &[5, 6]);
    assert!(matches!(wrong, Err(MergeError::Shape { .. })));
}

#[test]
fn nothing_is_copied_from_beyond_a_tensor_or_a_changed_file() {
    let dir = pool();
    let pool = dir.open();
    let PolicyWeights::Full(full) = pool.policies()[0].weights() else { panic!("not full") };
    let mut values = [bf16::ZERO; 8];
    full.copy_bf16(NAME, 22, &mut values).unwrap();
    for (name, first) in [(NAME, 23), (NAME, 1000), ("none", 0)] {
        full.copy_bf16(name, first, &mut values).unwrap_err();
    }
    let file = dir.path().join("x/model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 2]).unwrap();
    assert!(matches!(full.copy_bf16(NAME, 0, &mut values), Err(MergeError::FileChanged(_))));
}
