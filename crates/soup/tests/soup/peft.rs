//! A soup as one adapter.

use std::fs;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use tureen_soup::merge::{MergeError, as_peft};
use tureen_soup::{MergeOptions, Method, Pool, Soup};

use crate::fixture::{Folder, Lora, PoolDir, Q0, Q1, SHAPES, V0, base_tensors, options, preference, soup};
use crate::oracle::plain_delta;

/// `alpha / r · B A` as PEFT computes it from the files, f64.
fn as_peft_reads(dir: &std::path::Path, name: &str) -> Vec<f64> {
    let config: Value = serde_json::from_slice(&fs::read(dir.join("adapter_config.json")).unwrap()).unwrap();
    let bytes = fs::read(dir.join("adapter_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |factor: &str| {
        let tensor = tensors.tensor(&format!("base_model.model.{name}.{factor}.weight")).unwrap();
        let values = tensor.data().chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        (tensor.shape().to_vec(), values.collect::<Vec<_>>())
    };
    let ((a_shape, a), (b_shape, b)) = (read("lora_A"), read("lora_B"));
    let (rank, input, out) = (a_shape[0], a_shape[1], b_shape[0]);
    assert_eq!((b_shape[1], config["r"].as_u64().unwrap()), (rank, rank as u64));
    let scale = config["lora_alpha"].as_f64().unwrap() / rank as f64;
    let value = |at: usize| -> f64 {
        let (o, i) = (at / input, at % input);
        (0..rank).map(|k| scale * b[o * rank + k] * a[k * input + i]).sum()
    };
    (0..out * input).map(value).collect()
}

fn written(pool: &Pool, soup: &Soup) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    as_peft(pool, soup).unwrap().write(dir.path(), "some/base").unwrap();
    dir
}

#[test]
fn the_adapter_is_the_soup() {
    let loras = [Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0]), Lora::on("c", 3, 4, &[Q1])];
    let pool = PoolDir::of(&loras).open();
    for method in [Method::Exact, Method::Linear] {
        let options = MergeOptions { strength: 1.25, ..options(method) };
        let pairs = [("a", 0.5), ("b", 0.25), ("c", 0.25)];
        let dir = written(&pool, &pool.soup(&preference(&pairs), &options).unwrap());
        for (name, _) in SHAPES {
            let parts = loras.iter().zip(pairs).map(|(l, (_, w))| (w, plain_delta(l, name)));
            let mut expected = vec![0.0; plain_delta(&loras[0], name).len()];
            parts.for_each(|(w, d)| expected.iter_mut().zip(d).for_each(|(sum, d)| *sum += 1.25 * w * d));
            for (got, expected) in as_peft_reads(dir.path(), name).iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-6, "{name}: {got} is not {expected}");
            }
        }
    }
}

#[test]
fn its_rank_is_the_sum_of_those_that_take_part() {
    let pool = PoolDir::of(&[Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0]), Lora::on("c", 3, 4, &[Q0])]).open();
    let adapter = as_peft(&pool, &soup(&pool, &[("a", 0.5), ("b", 0.5)], Method::Exact)).unwrap();
    assert_eq!((adapter.adapter().rank, adapter.adapter().alpha), (5, 5.0));
    let (a, b, input, out) = &adapter.adapter().modules[V0];
    assert_eq!((a.len(), b.len(), *input, *out), (25, 15, 5, 3));
    assert!(a[10..].iter().all(|v| *v == 0.0), "zeros where b has no factors");
}

#[test]
fn factor_soups_stay_as_small_as_their_policies() {
    let pool = PoolDir::of(&[Lora::new("a", 1), Lora::on("b", 2, 3, &[Q0, V0])]).open();
    let soup = soup(&pool, &[("a", 0.5), ("b", 0.5)], Method::Factor);
    assert_eq!(as_peft(&pool, &soup).unwrap().adapter().rank, 3);
    let dir = written(&pool, &soup);
    for (name, _) in SHAPES {
        let merged = crate::fixture::merged(&pool, &soup, name);
        for ((got, merged), base) in
            as_peft_reads(dir.path(), name).iter().zip(merged).zip(crate::fixture::base_of(name))
        {
            assert!((got - (f64::from(merged) - f64::from(base))).abs() < 1e-6);
        }
    }
}

#[test]
fn peft_finds_what_it_expects() {
    let pool = PoolDir::of(&[Lora::new("a", 1)]).open();
    let soup = soup(&pool, &[("a", 1.0)], Method::Exact);
    let dir = written(&pool, &soup);
    let config: Value = serde_json::from_slice(&fs::read(dir.path().join("adapter_config.json")).unwrap()).unwrap();
    let expected = [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("base_model_name_or_path", json!("some/base")),
        ("target_modules", json!([Q0, V0, Q1])),
        ("r", json!(2)),
        ("lora_alpha", json!(2)),
        ("bias", json!("none")),
        ("inference_mode", json!(true)),
    ];
    for (key, value) in expected {
        assert_eq!(config[key], value, "{key}");
    }
    let bytes = fs::read(dir.path().join("adapter_model.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "pt");
    assert_eq!(metadata["tureen_soup"], soup.id().to_string());
    // One soup, one file.
    assert_eq!(fs::read(written(&pool, &soup).path().join("adapter_model.safetensors")).unwrap(), bytes);
}

#[test]
fn what_is_not_of_low_rank_is_refused() {
    let dir = PoolDir::new(&[
        Folder::from(&Lora::new("a", 1)),
        Folder::from(&Lora::new("b", 2)),
        Folder::full("whole", &base_tensors()),
    ]);
    let pool = dir.open();
    let refused = |pairs: &[(&str, f64)], method| match as_peft(&pool, &soup(&pool, pairs, method)).unwrap_err() {
        MergeError::NoAdapter(why) => why,
        other => panic!("{other}"),
    };
    for method in [Method::Ties, Method::DareLinear, Method::DareTies, Method::Slerp] {
        assert!(refused(&[("a", 1.0), ("b", 1.0)], method).contains(&method.to_string()));
    }
    assert!(refused(&[("a", 1.0), ("whole", 1.0)], Method::Linear).contains("whole is a full-weight policy"));
    assert!(refused(&[], Method::Exact).contains("changes nothing"));
}
