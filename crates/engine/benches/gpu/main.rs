//! What a GPU does: whether its kernels compute what they should, merging, choosing tokens, serving, and how far its logits are
//! from the CPU's. One JSON object on standard output; docs/gpu.md says what each number is.
//!
//! ```text
//! cargo bench -p tureen-engine --features cuda --bench gpu
//! cargo bench -p tureen-engine --bench gpu -- --twin       the same code on the CPU, in sizes that prove nothing
//! ```

mod checks;
mod choosing;
mod merging;
mod serving;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::Device;
use serde_json::json;
use shape::Shape;
use tureen_engine::DeviceChoice;

/// What was asked for.
struct Arguments {
    twin: bool,
    /// Where base and pool are written to, for others to read; a temporary folder else.
    keep: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { twin: false, keep: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match &*argument {
            // cargo's own.
            "--bench" => {}
            "--twin" => arguments.twin = true,
            "--keep" => arguments.keep = Some(given.next().ok_or("--keep takes a folder")?.into()),
            other => return Err(format!("there is no {other}; known are --twin and --keep FOLDER")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let (device, facts) = match arguments.twin {
        true => (Device::Cpu, json!({"name": "the CPU, as a twin"})),
        false => {
            let (device, facts) = tureen_cuda::open(0)?;
            let (major, minor) = facts.capability;
            let capability = format!("{major}.{minor}");
            (device, json!({"name": facts.name, "capability": capability, "memory": facts.memory, "free": facts.free}))
        }
    };
    let choosing = choosing::measure(&device, arguments.twin)?;
    let (checks, merging) = tensors(device, if arguments.twin { Shape::tiny() } else { Shape::seven_billion() })?;
    let choice = if arguments.twin { DeviceChoice::Twin } else { DeviceChoice::Cuda(0) };
    let folder = tempfile::tempdir()?;
    let folder = arguments.keep.as_deref().unwrap_or(folder.path());
    let serving = serving::measure(folder, choice)?;
    Ok(json!({"device": facts, "checks": checks, "merging": merging, "choosing": choosing, "serving": serving}))
}

/// Checks and merging. Gives back what they took on the device: serving needs it.
fn tensors(device: Device, shape: Shape) -> candle_core::Result<(serde_json::Value, serde_json::Value)> {
    let checks = checks::run(&device)?;
    let copied = merging::copy(&device, shape)?;
    let merging = json!({
        "copy_bytes_per_s": copied,
        "full": merging::full(&device, shape, copied)?,
        "lora": merging::lora(&device, shape)?,
    });
    Ok((checks, merging))
}

fn main() -> ExitCode {
    match arguments().map_err(Into::into).and_then(|arguments| run(&arguments)) {
        Ok(report) => {
            println!("{report:#}");
            if report["checks"]["passed"] == json!(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("gpu: {error}");
            ExitCode::FAILURE
        }
    }
}
