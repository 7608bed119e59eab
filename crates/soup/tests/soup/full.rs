//! Full-weight policies: sharded, mapped, mixed, watched.

use std::collections::BTreeMap;
use std::fs;

use safetensors::Dtype;
use tureen_soup::merge::{self, MergeError};
use tureen_soup::{MergeOptions, Method, PolicyWeights, Pool, PoolOptions, Weights};

use crate::fixture::{
    Folder, Lora, PoolDir, Q0, SHAPES, Tensors, base_of, base_tensors, merged, numbers, options, preference,
    safetensors, soup,
};
use crate::oracle::{assert_close, exact, plain_delta};

fn theta(seed: u64) -> Tensors {
    let mut tensors = base_tensors();
    for (i, (_, values)) in tensors.values_mut().enumerate() {
        *values = numbers(seed * 20 + i as u64, values.len());
    }
    tensors
}

fn delta(theta: &Tensors, name: &str) -> Vec<f64> {
    let values = &theta[&format!("{name}.weight")].1;
    values.iter().zip(base_of(name)).map(|(t, b)| f64::from(*t) - f64::from(b)).collect()
}

fn sharded(id: &str, tensors: &Tensors) -> Folder {
    let mut shards = [Tensors::new(), Tensors::new()];
    for (i, (name, tensor)) in tensors.clone().into_iter().enumerate() {
        shards[i % 2].insert(name, tensor);
    }
    let file = |i: usize| (format!("model-0000{}-of-00002.safetensors", i + 1), safetensors(&shards[i], Dtype::F32));
    Folder { id: id.into(), kind: "full", files: BTreeMap::from([file(0), file(1)]) }
}

#[test]
fn linear_mixes_checkpoints() {
    let (x, y) = (theta(1), theta(2));
    let pool = PoolDir::new(&[sharded("x", &x), Folder::full("y", &y)]).open();
    for strength in [1.0, 0.5, 2.0] {
        let options = MergeOptions { strength, ..options(Method::Linear) };
        let soup = pool.soup(&preference(&[("x", 0.3), ("y", 0.7)]), &options).unwrap();
        for (name, _) in SHAPES {
            let expected = exact(name, strength, &[(0.3, delta(&x, name)), (0.7, delta(&y, name))]);
            assert_close(&merged(&pool, &soup, name), &expected);
        }
    }
    let touched = merge::touched(&pool, &soup(&pool, &[("x", 1.0)], Method::Linear));
    assert_eq!(touched, base_tensors().into_keys().collect::<Vec<_>>());
}

#[test]
fn linear_mixes_checkpoints_with_adapters() {
    let (x, lora) = (theta(1), Lora::on("low", 2, 2, &[Q0]));
    let pool = PoolDir::new(&[Folder::full("x", &x), Folder::from(&lora)]).open();
    let soup = soup(&pool, &[("x", 0.25), ("low", 0.75)], Method::Linear);
    for (name, _) in SHAPES {
        let expected = exact(name, 1.0, &[(0.25, delta(&x, name)), (0.75, plain_delta(&lora, name))]);
        assert_close(&merged(&pool, &soup, name), &expected);
    }
}

#[test]
fn tensors_are_given_out_as_they_are_stored() {
    let x = theta(1);
    for weights in [Weights::Mapped, Weights::Read] {
        let dir = PoolDir::new(&[sharded("x", &x)]);
        let pool = Pool::open(dir.path(), &PoolOptions { weights }).unwrap();
        let PolicyWeights::Full(full) = pool.policies()[0].weights() else { panic!("not full") };
        assert_eq!(full.names().collect::<Vec<_>>(), x.keys().collect::<Vec<_>>());
        for (name, (shape, values)) in &x {
            assert_eq!(full.shape(name), Some(&shape[..]));
            assert_eq!(full.tensor(name).as_ref(), Some(values));
        }
        assert_eq!((full.tensor("none"), full.shape("none")), (None, None));
    }
}

#[test]
fn one_tensor_in_two_files_is_refused() {
    let mut folder = sharded("x", &theta(1));
    let whole = safetensors(&theta(1), Dtype::F32);
    folder.files.insert("model-00003-of-00003.safetensors".into(), whole);
    let problems = PoolDir::new(&[folder]).problems();
    assert!(problems.iter().any(|p| p.contains("in another file")), "{problems:?}");
}

/// Overwritten and truncated in place: seen by `changed_files`, and never read again, as that would serve other
/// weights or end the process.
#[test]
fn files_changed_in_place_are_seen_and_not_served() {
    let write = |path: &std::path::Path, bytes: &[u8]| fs::write(path, bytes).unwrap();
    let cut =
        |path: &std::path::Path, _: &[u8]| fs::File::options().write(true).open(path).unwrap().set_len(64).unwrap();
    let other = safetensors(&theta(9), Dtype::F32);
    for change in [&write as &dyn Fn(&std::path::Path, &[u8]), &cut] {
        let dir = PoolDir::new(&[Folder::full("x", &theta(1)), Folder::full("y", &theta(2))]);
        let pool = dir.open();
        assert!(pool.changed_files().is_empty());
        let path = dir.file("x/model.safetensors");
        change(&path, &other);
        let name = |path: &std::path::PathBuf| path.ends_with("x/model.safetensors");
        assert!(matches!(&pool.changed_files()[..], [one] if name(one)), "{:?}", pool.changed_files());

        let PolicyWeights::Full(full) = pool.policies()[0].weights() else { panic!("not full") };
        assert_eq!(full.tensor("model.norm.weight"), None);
        let get = |wish: &[(&str, f64)]| {
            let soup = soup(&pool, wish, Method::Linear);
            merge::tensor(&pool, &soup, &format!("{Q0}.weight"), &[6, 5], &base_of(Q0))
        };
        let error = get(&[("x", 0.5), ("y", 0.5)]).unwrap_err();
        assert!(matches!(error, MergeError::FileChanged(_)) && error.to_string().contains("rename"), "{error}");
        // The other policy's file is as it was.
        assert!(get(&[("y", 1.0)]).unwrap().is_some());
    }
}

/// Renaming over a file and unlinking it leave the mapped one as it is.
#[test]
fn files_replaced_by_rename_go_on_being_served_as_they_were() {
    let x = theta(1);
    let dir = PoolDir::new(&[Folder::full("x", &x)]);
    let pool = dir.open();
    let wish = soup(&pool, &[("x", 1.0)], Method::Linear);
    let path = dir.file("x/model.safetensors");
    fs::write(dir.file("new"), safetensors(&theta(9), Dtype::F32)).unwrap();
    fs::rename(dir.file("new"), &path).unwrap();
    assert!(pool.changed_files().is_empty());
    assert_eq!(merged(&pool, &wish, Q0), x[&format!("{Q0}.weight")].1);
    fs::remove_file(&path).unwrap();
    assert!(pool.changed_files().is_empty());
    assert_eq!(merged(&pool, &wish, Q0), x[&format!("{Q0}.weight")].1);
}

/// What was read into memory cannot be changed from outside; LoRA factors never can.
#[test]
fn what_was_read_needs_no_watching() {
    let x = theta(1);
    let lora = Lora::new("low", 2);
    let dir = PoolDir::new(&[Folder::full("x", &x), Folder::from(&lora)]);
    let pool = Pool::open(dir.path(), &PoolOptions { weights: Weights::Read }).unwrap();
    let mapped = PoolDir::new(&[Folder::from(&lora)]);
    let pool_of_lora = mapped.open();
    for path in [dir.file("x/model.safetensors"), mapped.file("low/adapter_model.safetensors")] {
        fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    }
    assert!(pool.changed_files().is_empty() && pool_of_lora.changed_files().is_empty());
    let soup_of_x = soup(&pool, &[("x", 1.0)], Method::Linear);
    assert_eq!(merged(&pool, &soup_of_x, Q0), x[&format!("{Q0}.weight")].1);
    let low = soup(&pool_of_lora, &[("low", 1.0)], Method::Exact);
    assert_close(&merged(&pool_of_lora, &low, Q0), &exact(Q0, 1.0, &[(1.0, plain_delta(&lora, Q0))]));
}
