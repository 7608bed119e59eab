//! The pools that other crates' tests are made of: both architectures, both kinds, every option.

use std::fs;

use picollama::{Architecture, Base, PolicySpec, Precision, write_pool};
use tureen_soup::{BaseFacts, Method, Pool, PoolOptions, merge};

use crate::fixture::soup;

fn policies() -> Vec<PolicySpec> {
    vec![
        PolicySpec::lora("elementary"),
        PolicySpec { rank: 7, alpha: 3.0, targets: vec!["k_proj", "down_proj"], ..PolicySpec::lora("concise") },
        PolicySpec { rslora: true, dtype: Precision::Bf16, ..PolicySpec::lora("friendly") },
        PolicySpec { dtype: Precision::F16, ..PolicySpec::full("expert") },
    ]
}

#[test]
fn they_are_served_whole() {
    for base in [Base::llama(), Base { shards: 2, tie: true, ..Base::qwen2() }] {
        let root = tempfile::tempdir().unwrap();
        let written = base.write(&root.path().join("base"));
        let dir = root.path().join("pool");
        write_pool(&dir, &base, &written, &policies());
        let mut pool = Pool::open(&dir, &PoolOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let tensors = base.tensors();
        let facts = BaseFacts {
            name: written.name,
            sha256: written.sha256,
            vocabulary_sha256: written.vocabulary_sha256,
            shapes: tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect(),
        };
        pool.check_base(&facts).unwrap_or_else(|e| panic!("{e}"));
        pool.measure(|name| tensors.get(name).map(|(_, values)| values.clone())).unwrap();
        assert!(pool.norms().iter().all(|norm| *norm > 0.0), "{:?}", pool.norms());
        let wish = [("elementary", 0.2), ("concise", 0.3), ("friendly", 0.1), ("expert", 0.4)];
        for method in [Method::Linear, Method::Ties, Method::DareLinear, Method::DareTies] {
            let soup = soup(&pool, &wish, method);
            let mut square = 0.0;
            for name in merge::touched(&pool, &soup) {
                let (shape, values) = &tensors[&name];
                let merged = merge::tensor(&pool, &soup, &name, shape, values).unwrap().unwrap();
                let moved = merged.iter().zip(values).map(|(m, b)| (f64::from(*m) - f64::from(*b)).powi(2));
                square += moved.sum::<f64>();
            }
            assert!(square > 0.0);
            if method == Method::Linear {
                assert!((square.sqrt() / pool.drift(&soup) - 1.0).abs() < 1e-5);
            }
        }
        // Not the base they were made for.
        fs::remove_dir_all(root.path().join("base")).unwrap();
        let other = Base { architecture: Architecture::Llama, hidden: 32, ..base }.tensors();
        let shapes = other.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect();
        assert!(pool.check_base(&BaseFacts { shapes, ..facts }).is_err());
    }
}
