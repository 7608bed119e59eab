//! Sums of tensors that lie in the host's memory, or in files mapped there: through buffers of fixed size, two in turn.
//!
//! ```text
//! lane 0   read 0 ─► upload, sum, download ─► out       read 2 ─► ...
//! lane 1             read 1 ─► upload, sum, download ─► out
//! ```
//!
//! While the GPU works on what one lane holds, the host reads into the other. The buffers are pinned, so that copies run
//! beside everything else, and each lane has its stream.

mod host;

use std::ops::Range;

use candle_core::{Device, Result};
use half::bf16;

use crate::SOURCES;
use host::HostLane;

/// A buffer on its way through the GPU.
pub(crate) trait Lane: Send {
    /// Waits until nothing reads the input any more, and gives it.
    fn input(&mut self) -> Result<&mut [bf16]>;

    /// Begins the sum of `weights.len()` pieces of the input, `stride` values apart, `length` of each.
    fn start(&mut self, piece: Piece<'_>) -> Result<()>;

    /// Waits for the sum.
    fn finish(&mut self) -> Result<&[f32]>;
}

/// What a lane sums up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) weights: &'a [f32],
    pub(crate) toward: bool,
    pub(crate) stride: usize,
    pub(crate) length: usize,
}

/// A sum to compute: [`sum`](crate::sum), or [`toward`](crate::toward) the first source.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<'a> {
    /// One for each source, 1 to [`SOURCES`] of them.
    pub weights: &'a [f32],
    /// Whether the sum goes from the first source toward the others.
    pub toward: bool,
    /// Values of each source.
    pub length: usize,
}

/// Buffers for sums of tensors that are read piece by piece.
pub struct Staging {
    lanes: [Box<dyn Lane>; 2],
    /// Values of a lane's input.
    capacity: usize,
}

impl Staging {
    /// Bytes of one lane: large enough for copies at full speed, small beside a model.
    pub const LANE_BYTES: usize = 32 << 20;

    /// Bytes that two lanes of the ordinary size take on the GPU: their inputs, and sums in f32 of at least two sources.
    pub const DEVICE_BYTES: u64 = 2 * 2 * Self::LANE_BYTES as u64;

    /// Lanes of `bytes` each on `device`: on the CPU the same without copies, by the twin of the kernel.
    ///
    /// # Errors
    /// When the GPU has no memory for them.
    pub fn new(device: &Device, bytes: usize) -> Result<Self> {
        // A vector of eight values of each source at the least.
        let capacity = (bytes / size_of::<bf16>()).max(8 * SOURCES);
        let lanes: [Box<dyn Lane>; 2] = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => crate::cuda::lanes(device, capacity)?,
            _ => [Box::new(HostLane::new(capacity)), Box::new(HostLane::new(capacity))],
        };
        Ok(Self { lanes, capacity })
    }

    /// Computes `job`, rounded to f32. `read` is asked for a range of values of every source, in the order of the weights.
    ///
    /// # Errors
    /// What `read` says, and when the GPU fails.
    ///
    /// # Panics
    /// For no sources or more than [`SOURCES`].
    pub fn sum<E: From<candle_core::Error>>(
        &mut self,
        job: &Job<'_>,
        mut read: impl FnMut(Range<usize>, Vec<&mut [bf16]>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Vec<f32>, E> {
        let Job { weights, toward, length } = *job;
        assert!((1..=SOURCES).contains(&weights.len()), "{} sources", weights.len());
        // One source alone takes half a lane: sums have room for half of it.
        let stride = self.capacity / weights.len().max(2) / 8 * 8;
        let mut out = Vec::with_capacity(length);
        let mut running: [bool; 2] = [false; 2];
        let mut next = 0;
        for start in (0..length).step_by(stride) {
            let piece = Piece { weights, toward, stride, length: stride.min(length - start) };
            let lane = &mut self.lanes[next];
            if std::mem::replace(&mut running[next], true) {
                out.extend_from_slice(lane.finish()?);
            }
            let sources = lane.input()?.chunks_exact_mut(stride).take(weights.len());
            read(start..start + piece.length, sources.map(|source| &mut source[..piece.length]).collect())?;
            lane.start(piece)?;
            next = 1 - next;
        }
        // The one that would be next is the older one.
        for lane in [next, 1 - next] {
            if running[lane] {
                out.extend_from_slice(self.lanes[lane].finish()?);
            }
        }
        Ok(out)
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
