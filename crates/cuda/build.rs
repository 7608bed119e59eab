//! Under the feature `cuda`: the kernels to PTX, by `$NVCC`, `$CUDA_HOME/bin/nvcc` or the `nvcc` of the search path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: [&str; 2] = ["soup", "choose"];
/// The oldest GPUs that compute in bf16; the driver compiles PTX for all later ones.
const ARCHITECTURE: &str = "-arch=compute_80";

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=NVCC");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let of_home = || env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc").into_os_string());
    let nvcc = env::var_os("NVCC").or_else(of_home).unwrap_or_else(|| "nvcc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for name in KERNELS {
        let (source, to) = (Path::new("kernels").join(name).with_extension("cu"), out.join(name).with_extension("ptx"));
        let status = Command::new(&nvcc).args(["-ptx", "-O3", ARCHITECTURE, "-o"]).arg(&to).arg(&source).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{} on {}: {status}", nvcc.display(), source.display()),
            Err(e) => panic!("{}: {e}; the feature `cuda` needs a CUDA toolkit, see docs/gpu.md", nvcc.display()),
        }
    }
}
