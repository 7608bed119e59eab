//! The forward pass on a device of candle's: a GPU in bf16, or its CPU in f32, on which the same code is tested.
//!
//! ```text
//! residual (f32) ─ norm ─► x ─┬─ x Wᵀ ────────────────────────► + ─► q k v, or gate and up
//!                             └─ x A*ᵀ ─ soup_gate ─ u B*ᵀ ────┘     (policies of all rows side by side)
//! keys and values ─► pages of 16 positions in one tensor for each layer; sequences know which pages are theirs
//! ```
//!
//! Linear layers that read the same are packed: four products of a layer instead of seven, and as many thin ones. Nothing
//! waits for the device but the step's end, when the tokens that were chosen there come back.

mod attention;
mod cache;
mod fault;
mod forward;
mod gates;
mod step;
mod weights;

pub(crate) use cache::{DevicePage, Numbers};
pub(crate) use forward::{DeviceModel, Found};
pub(crate) use gates::DeviceGates;
pub(crate) use weights::{DeviceWeights, Target};

use crate::model::weights::Slot;

/// Linear layers that are packed into one, in the order of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    QueryKeyValue,
    Output,
    GateUp,
    Down,
}

impl Part {
    const ALL: [Self; 4] = [Self::QueryKeyValue, Self::Output, Self::GateUp, Self::Down];

    fn slots(self) -> &'static [Slot] {
        match self {
            Self::QueryKeyValue => &[Slot::Query, Slot::Key, Slot::Value],
            Self::Output => &[Slot::Output],
            Self::GateUp => &[Slot::Gate, Slot::Up],
            Self::Down => &[Slot::Down],
        }
    }
}
