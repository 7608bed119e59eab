//! Under the feature `cuda`: kernels/soup.cu to PTX, by `$NVCC`, `$CUDA_HOME/bin/nvcc` or the `nvcc` of the search path.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "kernels/soup.cu";
/// The oldest GPUs that compute in bf16; the driver compiles PTX for all later ones.
const ARCHITECTURE: &str = "-arch=compute_80";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=NVCC");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let of_home = || env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc").into_os_string());
    let nvcc = env::var_os("NVCC").or_else(of_home).unwrap_or_else(|| "nvcc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("soup.ptx");
    let status = Command::new(&nvcc).args(["-ptx", "-O3", ARCHITECTURE, "-o"]).arg(&out).arg(SOURCE).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} on {SOURCE}: {status}", nvcc.display()),
        Err(e) => panic!("{}: {e}; the feature `cuda` needs a CUDA toolkit, see docs/gpu.md", nvcc.display()),
    }
}
