//! Sizes of models whose values do not matter.

/// One decoder layer, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) vocabulary: usize,
}

impl Shape {
    /// That of LLaMA-7B.
    pub(crate) fn seven_billion() -> Self {
        Self { hidden: 4096, inner: 11_008, layers: 32, vocabulary: 32_000 }
    }

    pub(crate) fn tiny() -> Self {
        Self { hidden: 64, inner: 96, layers: 2, vocabulary: 320 }
    }

    /// Linear layers of one decoder layer by shape (out, in), and how many have it.
    pub(crate) fn linears(self) -> [(usize, [usize; 2]); 3] {
        let Self { hidden, inner, .. } = self;
        [(4, [hidden, hidden]), (2, [inner, hidden]), (1, [hidden, inner])]
    }

    /// Weights of one decoder layer's linear layers.
    pub(crate) fn layer_values(self) -> usize {
        self.linears().iter().map(|(count, [out, input])| count * out * input).sum()
    }
}
