//! Writes the tiny base and its pool.
use std::path::Path;

pub(crate) fn write(base: &Path, pool: &Path) {
    std::fs::create_dir_all(base).unwrap();
    std::fs::create_dir_all(pool).unwrap();
    std::fs::write(pool.join("pool.toml"), "[base]\nsha256 = \"00\"\n").unwrap();
}
