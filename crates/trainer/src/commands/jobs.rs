//! Several runs side by side, each a process of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::TrainError;

/// Runs this program once for each of `configs`, `jobs` at a time, with what `arguments` says and as many threads as this
/// process has. A run that fails does not stop the others.
///
/// # Errors
/// Runs that failed, by their configurations.
pub(super) fn side_by_side(
    configs: &[PathBuf],
    jobs: usize,
    arguments: impl Fn(&Path) -> Vec<OsString> + Sync,
) -> Result<(), TrainError> {
    let program = std::env::current_exe().map_err(|error| TrainError::Invalid(format!("this program: {error}")))?;
    let threads = rayon::current_num_threads().to_string();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(config) = configs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = config.display();
            println!("{name}: begun");
            let status = Command::new(&program).args(["--threads", &threads]).args(arguments(config)).status();
            match status {
                Ok(status) if status.success() => println!("{name}: done"),
                Ok(status) => fail(&failed, format!("{name} ({status})")),
                Err(error) => fail(&failed, format!("{name} ({error})")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(configs.len()) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    failed.sort();
    if failed.is_empty() { Ok(()) } else { Err(TrainError::Invalid(format!("failed: {}", failed.join(", ")))) }
}

fn fail(failed: &Mutex<Vec<String>>, what: String) {
    failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(what);
}
