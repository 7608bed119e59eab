//! How an engine is set up.

use tureen_cuda::DeviceError;
use tureen_kernels::{Isa, Precision};

/// What computes: the CPU, or a GPU in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU, if this build and this machine have one that can be used.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// This one, or the engine does not start.
    Cuda(usize),
    /// What runs on a GPU, on the CPU and in f32: slow, and how it is tested where there is none.
    Twin,
    /// The twin, which fails as a GPU can: how that is tested.
    Failing(Fault),
}

/// What happens to a failing twin, in a step counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This step fails, and none after it.
    Error {
        /// The step.
        at: u32,
    },
    /// From this step on it does nothing any more.
    Lost {
        /// The step.
        at: u32,
    },
}

impl DeviceChoice {
    /// Parses `auto`, `cpu` or `cuda:0`, and for tests `twin`, `twin:error@3` and `twin:lost@3`; `None` for anything else.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let step = |at: &str| number(at).and_then(|at| at.try_into().ok());
        match name.split_once(':') {
            None if name == "auto" => Some(Self::Auto),
            None if name == "cpu" => Some(Self::Cpu),
            None if name == "twin" => Some(Self::Twin),
            Some(("cuda", index)) => number(index).map(Self::Cuda),
            Some(("twin", fault)) => Some(Self::Failing(match fault.split_once('@')? {
                ("error", at) => Fault::Error { at: step(at)? },
                ("lost", at) => Fault::Lost { at: step(at)? },
                _ => return None,
            })),
            _ => None,
        }
    }

    /// Whether a GPU that was asked for by number is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(self) -> Result<(), DeviceError> {
        match self {
            Self::Cuda(index) => tureen_cuda::open(index).map(drop),
            Self::Auto | Self::Cpu | Self::Twin | Self::Failing(_) => Ok(()),
        }
    }
}

/// Of digits alone.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Limits and sizes, each with its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Compute threads; 0 takes every core.
    pub threads: usize,
    /// Bytes for KV caches and materialised soups together.
    pub memory_budget: u64,
    /// Sequences computed together. A step takes longer with more, each sequence a little.
    pub max_batch_rows: usize,
    /// Requests that may wait while the batch is full.
    pub max_waiting: usize,
    /// Prompt tokens computed in one step, over all sequences: what a running stream waits longest for.
    pub prefill_chunk: usize,
    /// Bytes of full pages of keys and values that are kept for prompts to come which begin alike with the same soup; 0
    /// keeps none. They are part of the budget, and give way to everything else in it.
    pub prefix_cache: u64,
    /// Try what followed the last words before, several tokens in one step, where that pays: the same answers, sooner where
    /// they repeat what was said.
    pub speculation: bool,
    /// Tokens of prompt and answer together.
    pub max_context: usize,
    /// Requests for one soup before it is merged and kept; 0 never merges what the gate can serve.
    pub promote_after: u32,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// What computes.
    pub device: DeviceChoice,
    /// Instruction set of the kernels; `None` takes the widest that the CPU has.
    pub isa: Option<Isa>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            memory_budget: 2 << 30,
            max_batch_rows: 16,
            max_waiting: 64,
            prefill_chunk: 64,
            prefix_cache: 512 << 20,
            speculation: true,
            max_context: 2048,
            promote_after: 16,
            precision: Precision::F32,
            device: DeviceChoice::Cpu,
            isa: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceChoice::{self, Auto, Cpu, Cuda, Failing, Twin};
    use super::Fault;

    #[test]
    fn devices_have_names() {
        let named = ["auto", "cpu", "cuda:0", "cuda:11"].map(DeviceChoice::named);
        assert_eq!(named, [Some(Auto), Some(Cpu), Some(Cuda(0)), Some(Cuda(11))]);
        let twins = ["twin", "twin:error@3", "twin:lost@12"].map(DeviceChoice::named);
        let [error, lost] = [Fault::Error { at: 3 }, Fault::Lost { at: 12 }].map(Failing);
        assert_eq!(twins, [Some(Twin), Some(error), Some(lost)]);
        for name in ["twin:", "twin@3", "twin:lost", "twin:lost@", "twin:lost@x", "twin:gone@1", "cuda@0"] {
            assert_eq!(DeviceChoice::named(name), None, "{name}");
        }
        for name in ["", "cuda", "cuda:", "cuda:+1", "cuda:-1", "cuda:x", "gpu", "CPU", "cuda:99999999999999999999"] {
            assert_eq!(DeviceChoice::named(name), None, "{name}");
        }
    }
}
