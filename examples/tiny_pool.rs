//! Writes a tiny random base model to `DIR/base` and a pool of two policies for it to `DIR/pool`, to try the server or a
//! client without a download: `cargo run --example tiny_pool -- DIR`.

use std::path::PathBuf;
use std::process::ExitCode;

use picollama::{Base, PolicySpec, write_pool};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tiny_pool DIR");
        return ExitCode::from(64);
    };
    let dir = PathBuf::from(dir);
    let base = Base::llama();
    let written = base.write(&dir.join("base"));
    let policies = [PolicySpec::lora("concise"), PolicySpec::lora("friendly")];
    write_pool(&dir.join("pool"), &base, &written, &policies);
    ExitCode::SUCCESS
}
