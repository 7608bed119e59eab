//! The number formats of weights and activations.

use std::fmt;

/// What weights are kept in and multiplied with. Sums are f32 (int8: exact i32 within a group, f32 across groups).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Eight bits of mantissa.
    Bf16,
    /// Eight-bit integers; a scale for each group of [`GROUP`] inputs of each output, and of each row.
    Int8,
}

/// Inputs that share a scale in int8.
pub const GROUP: usize = 64;

/// A group of int8 whose largest magnitude is smaller is taken for zero: its scale has no reciprocal.
pub(crate) const SMALLEST: f32 = 1e-36;

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// `f32`, `bf16` or `int8`
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The precision of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Inputs in one 32-bit word of an activation row, and so in one line of a panel.
    pub(crate) fn per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// Words of a row of `input` activations: padded to whole tiles of 16 lines, so that AMX and groups fit.
    pub(crate) fn words(self, input: usize) -> usize {
        match self {
            Self::F32 => input,
            Self::Bf16 | Self::Int8 => input.div_ceil(16 * self.per_word()) * 16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
