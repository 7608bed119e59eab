//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `dir`/`name` by renaming a finished file over it, on disk before it is visible. Whoever has the old one open
/// or mapped keeps it unchanged.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!(".{name}.{}.{unique}", process::id()));
    let result = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, dir.join(name)));
    if result.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    sync_folder(dir)
}

/// Makes renames in `dir` last.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
