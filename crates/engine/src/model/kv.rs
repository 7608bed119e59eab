//! The KV cache of one sequence.

use crate::budget::Lease;

/// Keys and values of one layer: (positions, kv heads, head dimension), f32.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// Keys and values of one sequence, sized at admission for its prompt and its longest answer. Its memory is leased from
/// the budget and given back when the cache is dropped.
#[derive(Debug)]
pub(crate) struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    width: usize,
    positions: usize,
    _lease: Lease,
}

impl KvCache {
    /// Bytes for `positions` tokens. `width` is kv heads x head dimension.
    pub(crate) fn bytes(layers: usize, width: usize, positions: usize) -> u64 {
        (layers * 2 * width * positions * size_of::<f32>()) as u64
    }

    /// Room for `positions` tokens, covered by `lease`.
    pub(crate) fn new(layers: usize, width: usize, positions: usize, lease: Lease) -> Self {
        let room = || Vec::with_capacity(positions * width);
        let layers = (0..layers).map(|_| LayerCache { keys: room(), values: room() }).collect();
        Self { layers, width, positions, _lease: lease }
    }

    /// Appends one position to a layer.
    ///
    /// # Panics
    /// When the cache is full: admission leased too little.
    pub(super) fn push(&mut self, layer: usize, key: &[f32], value: &[f32]) {
        let cache = &mut self.layers[layer];
        assert!(cache.keys.len() < self.positions * self.width, "no KV room beyond {} positions", self.positions);
        cache.keys.extend_from_slice(key);
        cache.values.extend_from_slice(value);
    }
}
