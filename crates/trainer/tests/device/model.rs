//! A whole model at both places.

use candle_core::Tensor;
use tureen_engine::Checkpoint;
use tureen_trainer::model::{Base, Checkpointing, LoraAdapter, load_base_at};
use tureen_trainer::sequence::{last_hidden, score};

use crate::support::{close, places, random, values};

const PROMPTS: [&[u32]; 3] = [&[1, 2, 30, 4], &[1, 2, 90], &[1, 2, 5, 60, 7]];
const ANSWERS: [&[u32]; 3] = [&[8, 3, 28], &[110, 9], &[20, 21, 22, 23, 24]];

/// An adapter whose B is not zero.
fn adapter(base: &Base) -> LoraAdapter {
    let adapter = LoraAdapter::init(base, 4, 8.0, 3).unwrap();
    for (index, (name, var)) in adapter.variables().into_iter().enumerate() {
        if name.ends_with("lora_B") {
            var.set(&random(700 + index as u64, var.dims(), 0.3)).unwrap();
        }
    }
    adapter
}

/// What `of` makes of the model, and its gradient by every variable, within 1e-4 of the largest value.
#[track_caller]
fn same(checkpoint: &Checkpoint, of: impl Fn(&Base, &LoraAdapter) -> Tensor) {
    let [cpu, twin] = places().map(|place| {
        let base = load_base_at(&place, checkpoint, 100).unwrap();
        let adapter = adapter(&base);
        let y = of(&base, &adapter);
        let grads = (&y * random(77, y.dims(), 1.0)).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = adapter.variables().into_iter().map(|(_, var)| values(grads.get(&var).unwrap()));
        [vec![values(&y)], grads.collect()].concat()
    });
    assert_eq!(twin.len(), 1 + 4 * checkpoint.config().num_hidden_layers);
    for (twin, cpu) in twin.iter().zip(&cpu) {
        assert!(cpu.iter().any(|value| *value != 0.0), "nothing to compare");
        close(twin, cpu, 1e-4);
    }
}

#[test]
fn log_probabilities_and_their_gradients_are_those_of_the_kernels() {
    for base in [picollama::Base::llama(), picollama::Base { tie: false, kv_heads: 4, ..picollama::Base::llama() }] {
        let folder = tempfile::tempdir().unwrap();
        base.write(folder.path());
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let pairs: Vec<_> = PROMPTS.into_iter().zip(ANSWERS).collect();
        same(&checkpoint, |base, adapter| {
            score(base, Some(&adapter.tracked(Checkpointing::Off)), &pairs).unwrap().log_probs
        });
        let rows: Vec<Vec<u32>> = pairs.iter().map(|(prompt, answer)| [*prompt, *answer].concat()).collect();
        same(&checkpoint, |base, adapter| {
            last_hidden(base, Some(&adapter.tracked(Checkpointing::Off)), &rows).unwrap()
        });
    }
}
