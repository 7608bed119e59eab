//! Averages by the twin of the kernel, in buffers that a tensor fills many times, against sums in f64.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use candle_core::Device;
use picollama::{Base, PolicySpec, Precision as Stored, write_pool};
use tempfile::TempDir;
use tureen_cuda::Staging;
use tureen_kernels::{Isa, Precision};
use tureen_soup::{MergeOptions, Method, Pool, PoolOptions, Soup, merge};

use super::Accelerator;
use crate::checkpoint::Checkpoint;
use crate::model::{Model, Source, Weights};
use crate::soups::merger::Materials;
use crate::soups::merging::Merging;

const TENSOR: &str = "model.layers.1.self_attn.q_proj.weight";

struct Fixture {
    dir: TempDir,
    from: Materials,
    pool: Pool,
}

impl Fixture {
    fn new(base_type: Stored, policy_type: Stored) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = Base::llama();
        let written = base.write_as(&dir.path().join("base"), base_type);
        let full = |id: &str| PolicySpec { dtype: policy_type, ..PolicySpec::full(id) };
        let specs = [full("concise"), full("expert"), full("friendly"), PolicySpec::lora("informative")];
        write_pool(&dir.path().join("pool"), &base, &written, &specs);
        let checkpoint = Arc::new(Checkpoint::open(&dir.path().join("base")).unwrap());
        let pool = Pool::open(&dir.path().join("pool"), &PoolOptions::default()).unwrap();
        let config = checkpoint.config().clone();
        let model = Arc::new(Model::new(config, Precision::F32, 64));
        let weights = Arc::new(Weights::load(model.layout(), &*checkpoint).unwrap());
        let accelerator = Accelerator::of_all(Staging::new(&Device::Cpu, 0).unwrap(), 1);
        let isa = Isa::PORTABLE;
        let from = Materials { checkpoint, base: weights, model, isa, accelerator: Some(Arc::new(accelerator)) };
        Self { dir, from, pool }
    }

    fn soup(&self, wish: &str, strength: f64) -> Soup {
        let options = MergeOptions { method: Method::Linear, strength, ..MergeOptions::default() };
        self.pool.soup(&wish.parse().unwrap(), &options).unwrap()
    }

    /// Whether the accelerator has an answer at all.
    fn is_accelerated(&self, soup: &Soup) -> bool {
        let shape = self.from.checkpoint.shape(TENSOR).unwrap();
        let Some(average) = merge::average(&self.pool, soup, TENSOR, shape).unwrap() else { return false };
        let accelerator = self.from.accelerator.as_ref().unwrap();
        accelerator.average(&average, &self.from.checkpoint, TENSOR).unwrap().is_some()
    }

    fn merged(&self, soup: &Soup) -> Vec<f32> {
        Merging::new(&self.from, &self.pool, soup).values(TENSOR).unwrap().unwrap()
    }

    fn expected(&self, soup: &Soup) -> Vec<f32> {
        let base = self.from.checkpoint.tensor(TENSOR).unwrap();
        let values: Vec<f32> = base.flatten_all().unwrap().to_vec1().unwrap();
        merge::tensor(&self.pool, soup, TENSOR, base.dims(), &values).unwrap().unwrap()
    }
}

fn assert_near(ours: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(expected) {
        assert!((ours - expected).abs() <= 1e-6 * largest, "{ours} is not {expected}");
    }
}

#[test]
fn averages_are_those_of_the_cpu() {
    let fixture = Fixture::new(Stored::Bf16, Stored::Bf16);
    for (wish, strength) in
        [("concise=0.5,expert=0.3,friendly=0.2", 1.0), ("concise=0.5,expert=0.3,friendly=0.2", 1.7), ("expert=1", 0.5)]
    {
        let soup = fixture.soup(wish, strength);
        assert!(fixture.is_accelerated(&soup), "{wish}");
        assert_near(&fixture.merged(&soup), &fixture.expected(&soup));
    }
}

#[test]
fn one_policy_alone_is_served_as_it_was_published() {
    let fixture = Fixture::new(Stored::F32, Stored::Bf16);
    let soup = fixture.soup("friendly=1", 1.0);
    assert!(fixture.is_accelerated(&soup));
    assert_eq!(fixture.merged(&soup), fixture.expected(&soup));
}

/// A base in f32 that takes part, policies in f32, mixed pools: the CPU's.
#[test]
fn what_a_gpu_would_round_is_merged_on_the_cpu() {
    let fixture = Fixture::new(Stored::F32, Stored::Bf16);
    let soup = fixture.soup("concise=0.5,expert=0.5", 1.5);
    assert!(!fixture.is_accelerated(&soup));
    assert_eq!(fixture.merged(&soup), fixture.expected(&soup));
    let mixed = fixture.soup("concise=0.5,informative=0.5", 1.0);
    assert!(!fixture.is_accelerated(&mixed));
    assert_eq!(fixture.merged(&mixed), fixture.expected(&mixed));
    let fixture = Fixture::new(Stored::Bf16, Stored::F32);
    let soup = fixture.soup("concise=0.5,expert=0.5", 1.0);
    assert!(!fixture.is_accelerated(&soup));
    assert_eq!(fixture.merged(&soup), fixture.expected(&soup));
}

#[test]
fn changed_files_end_the_merge_and_not_the_gpu() {
    let fixture = Fixture::new(Stored::Bf16, Stored::Bf16);
    let soup = fixture.soup("concise=0.5,expert=0.5", 1.0);
    let folder = fixture.dir.path().join("pool/concise");
    let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 2]).unwrap();
    let merged = Merging::new(&fixture.from, &fixture.pool, &soup).values(TENSOR);
    let error = merged.unwrap_err().to_string();
    assert!(error.contains("changed while it was served"), "{error}");
    let other = fixture.soup("expert=0.5,friendly=0.5", 1.0);
    assert!(fixture.is_accelerated(&other));
}
