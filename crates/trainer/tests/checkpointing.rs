//! Gradient checkpointing: what is kept, what it comes to, and when it is chosen.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use support::{adapter, base, geometry, places, random, values};
use tureen_trainer::model::{Base, Checkpointing, Geometry, LoraAdapter, Packing};
use tureen_trainer::sequence::{last_hidden, score};

const PROMPTS: [&[u32]; 3] = [&[1, 2, 3, 4], &[1, 2, 9], &[1, 2, 5, 6, 7]];
const RESPONSES: [&[u32]; 3] = [&[8, 3, 28], &[11, 0], &[20, 21, 22, 23]];

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn results_and_gradients_have_the_bits_that_they_have_without() {
    let pairs: Vec<_> = PROMPTS.into_iter().zip(RESPONSES).collect();
    let rows: Vec<Vec<u32>> = pairs.iter().map(|(prompt, response)| [*prompt, *response].concat()).collect();
    for base in places().map(|place| base(&place)) {
        let adapter = adapter(&base);
        let [off, on] = [Checkpointing::Off, Checkpointing::On].map(|checkpointing| {
            let delta = adapter.tracked(checkpointing);
            let results = [
                score(&base, Some(&delta), &pairs).unwrap().log_probs,
                last_hidden(&base, Some(&delta), &rows).unwrap(),
            ];
            let mut all = Vec::new();
            for y in results {
                let grads = (&y * random(77, y.dims(), 1.0)).unwrap().sum_all().unwrap().backward().unwrap();
                all.push(("result".to_owned(), bits(&values(&y))));
                all.extend(adapter.variables().into_iter().map(|(name, var)| {
                    let grad = values(grads.get(&var).unwrap());
                    assert!(grad.iter().any(|value| value.abs() > 1e-4), "{name} has no gradient to compare");
                    (name, bits(&grad))
                }));
            }
            all
        });
        assert_eq!(on, off);
    }
}

/// Elements of all tensors in the graph of a forward over `rows` rows of six tokens.
fn in_graph(base: &Base, adapter: &LoraAdapter, checkpointing: Checkpointing, rows: usize) -> usize {
    let packing = Arc::new(Packing::new(0, &vec![6; rows]));
    let tokens: Vec<u32> = (0..packing.tokens() as u32).map(|token| token % 29).collect();
    let hidden = base.forward(&tokens, &packing, Some(&adapter.tracked(checkpointing))).unwrap();
    hidden.sorted_nodes().iter().map(|node| node.elem_count()).sum()
}

#[test]
fn the_graph_keeps_inputs_of_layers_alone() {
    let Geometry { hidden, layers, .. } = geometry();
    for base in places().map(|place| base(&place)) {
        let adapter = adapter(&base);
        // What a further row adds: factors count once.
        let of = |checkpointing, rows| in_graph(&base, &adapter, checkpointing, rows);
        let row = |checkpointing| of(checkpointing, 3) - of(checkpointing, 2);
        // Behind each layer, and behind the last norm.
        assert_eq!(row(Checkpointing::On), 6 * (layers + 1) * hidden);
        // The first layer's norm, k, and frozen parts of q and v have no gradient; the low rank has some.
        let (kept, estimated) = (4 * row(Checkpointing::Off), 6 * geometry().activations());
        assert!(kept.abs_diff(estimated) < estimated / 10, "{kept} bytes instead of {estimated}");
        // A minibatch of as many tokens as the bound is kept.
        assert_eq!(of(Checkpointing::Above(12), 2), of(Checkpointing::Off, 2));
        assert_eq!(of(Checkpointing::Above(12), 3), of(Checkpointing::On, 3));
    }
}

#[test]
fn a_configuration_decides_before_the_size_of_the_activations_does() {
    // SmolLM2's three sizes.
    let of = |[hidden, layers, heads, kv_heads, inner]: [usize; 5]| Geometry {
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim: 64,
        inner,
        ..geometry()
    };
    let [small, middle, large] = [[576, 30, 9, 3, 1536], [960, 32, 15, 5, 2560], [2048, 24, 32, 32, 8192]].map(of);
    // Worked out by hand: 120 (3456 + 2304 + 768 + 4608) bytes a token.
    assert_eq!(small.activations(), 1_336_320);
    for (geometry, tokens) in [(&small, 1205), (&middle, 677), (&large, 315)] {
        assert_eq!(Checkpointing::chosen(None, geometry), Checkpointing::Above(tokens));
        assert_eq!(Checkpointing::chosen(Some(true), geometry), Checkpointing::On);
        assert_eq!(Checkpointing::chosen(Some(false), geometry), Checkpointing::Off);
    }
}
