//! A policy's files on their way into the pool, and those they replace on their way back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::PublishError;
use crate::atomic;
use crate::manifest;

/// Name of the folder in the pool; the pool's lock makes it ours.
const NAME: &str = ".publish";

/// Holds a small pool with the new policy alone, then what it replaced. Dropped, it puts everything back unless
/// [`Stage::keep`] was called, and removes itself.
pub(super) struct Stage {
    path: PathBuf,
    target: PathBuf,
    /// Whether the policy's folder was made by us.
    made_target: bool,
    staged: Vec<String>,
    /// Files moved into the policy's folder, and whether there was one before.
    swapped: Vec<(String, bool)>,
}

impl Stage {
    pub(super) fn new(
        pool_dir: &Path,
        dir: &str,
        files: &BTreeMap<&str, Vec<u8>>,
        manifest: &str,
    ) -> Result<Self, PublishError> {
        let path = pool_dir.join(NAME);
        // Left behind by a publisher that was killed: what is in it was never entered, or was replaced since.
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(PublishError::io(&path)(e)),
            _ => {}
        }
        let stage = Self {
            target: pool_dir.join(dir),
            made_target: false,
            staged: files.keys().map(|name| (*name).to_owned()).collect(),
            swapped: Vec::new(),
            path,
        };
        let folder = stage.path.join(dir);
        fs::create_dir_all(&folder).map_err(PublishError::io(&folder))?;
        for (name, bytes) in files {
            atomic::write(&folder, name, bytes).map_err(PublishError::io(&folder.join(name)))?;
        }
        atomic::write(&stage.path, manifest::FILE, manifest.as_bytes()).map_err(PublishError::io(&stage.path))?;
        Ok(stage)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the files into the policy's folder.
    pub(super) fn swap_in(&mut self) -> Result<(), PublishError> {
        let target = self.target.clone();
        match fs::create_dir(&target) {
            Ok(()) => self.made_target = true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(PublishError::io(&target)(e)),
        }
        let folder = self.path.join(target.file_name().unwrap_or_default());
        for name in self.staged.clone() {
            let (new, there) = (folder.join(&name), target.join(&name));
            // A second name for the old file keeps it, while renaming over it leaves no moment without one.
            let kept = match fs::hard_link(&there, self.old(&name)) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                Err(e) => return Err(PublishError::io(&there)(e)),
            };
            fs::rename(&new, &there).map_err(PublishError::io(&there))?;
            self.swapped.push((name, kept));
        }
        atomic::sync_folder(&target).map_err(PublishError::io(&target))
    }

    /// The new files stay.
    pub(super) fn keep(&mut self) {
        self.swapped.clear();
        self.made_target = false;
    }

    fn old(&self, name: &str) -> PathBuf {
        self.path.join(format!("old-{name}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Best effort throughout: there is nobody to tell, and a pool that could not be put back is refused by its
        // hashes when it is opened.
        for (name, kept) in &self.swapped {
            let there = self.target.join(name);
            let _ = if *kept { fs::rename(self.old(name), &there) } else { fs::remove_file(&there) };
        }
        if self.made_target {
            let _ = fs::remove_dir(&self.target);
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}
