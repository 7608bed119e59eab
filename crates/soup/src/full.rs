//! Policies that are whole checkpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::Dtype;

use crate::bytes::Bytes;
use crate::decode::{self, Entry};
use crate::file::PoolFile;
use crate::hash::sha256_hex;
use crate::merge::MergeError;
use crate::pool::Weights;
use crate::problem::Problems;

/// A full-weight policy. Its tensors stay in their mapped files (or in memory, with
/// [`Weights::Read`]) and are decoded when asked for.
#[derive(Debug)]
pub struct FullPolicy {
    files: Vec<(PoolFile, Bytes)>,
    /// Which file, and where in it.
    tensors: BTreeMap<String, (usize, Entry)>,
    weights: Weights,
}

/// A mapped file was written to; what it holds now is not what was checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} changed while it was served: put it back by rename and reload", .0.display())]
pub(crate) struct FileChanged(PathBuf);

impl FullPolicy {
    /// Opens and verifies `files` (name, sha256) of `dir`. Adds every problem; `None` when there is one.
    pub(crate) fn load(
        dir: &Path,
        files: &BTreeMap<String, String>,
        weights: Weights,
        place: &impl fmt::Display,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let mut policy = Self { files: Vec::new(), tensors: BTreeMap::new(), weights };
        for (name, sha256) in files {
            let place = format!("{place} {name}");
            if let Err(e) = policy.add_file(dir, name, sha256, &place, problems) {
                problems.add(&place, e);
            }
        }
        if policy.tensors.is_empty() && problems.len() == before {
            problems.add(place, "has no tensors at all");
        }
        (problems.len() == before).then_some(policy)
    }

    fn add_file(
        &mut self,
        dir: &Path,
        name: &str,
        sha256: &str,
        place: &str,
        problems: &mut Problems,
    ) -> Result<(), String> {
        let file = PoolFile::open(dir, name).map_err(|e| e.to_string())?;
        let bytes = file.bytes(self.weights).map_err(|e| e.to_string())?;
        let found = sha256_hex(&bytes);
        if found != sha256 {
            return Err(format!("its sha256 is {found}, the manifest says {sha256}"));
        }
        for (name, entry) in decode::header(&bytes)? {
            if let Err(e) = entry.decode_finite(&bytes) {
                problems.add(place, format_args!("{name} {e}"));
            }
            if self.tensors.contains_key(&name) {
                problems.add(place, format_args!("{name} is in another file of the policy too"));
            }
            self.tensors.insert(name, (self.files.len(), entry));
        }
        if file.changed() {
            return Err("changed while it was read: replace files by renaming, not in place".into());
        }
        self.files.push((file, bytes));
        Ok(())
    }

    /// Every tensor's name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, entry)| &entry.shape[..])
    }

    /// A tensor's values, row-major. `None` when there is no such tensor, and when its file was changed in place since
    /// it was verified: such weights are never given out.
    pub fn tensor(&self, name: &str) -> Option<Vec<f32>> {
        self.checked_tensor(name).ok().flatten()
    }

    /// As [`Self::tensor`], telling the two reasons apart.
    pub(crate) fn checked_tensor(&self, name: &str) -> Result<Option<Vec<f32>>, FileChanged> {
        let Some((index, entry)) = self.tensors.get(name) else { return Ok(None) };
        let (file, bytes) = &self.files[*index];
        let changed = || FileChanged(file.path().to_owned());
        // Before, as reading behind the end of a truncated file kills the process; after, as it may change meanwhile.
        if self.is_changed(file) {
            return Err(changed());
        }
        let values = entry.decode(bytes).map_err(|_| changed())?;
        if self.is_changed(file) { Err(changed()) } else { Ok(Some(values)) }
    }

    /// Whether a tensor is there and held in bf16.
    pub(crate) fn is_bf16(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|(_, entry)| entry.dtype == Dtype::BF16)
    }

    /// Copies values of a tensor in bf16, row-major, from `first` on.
    ///
    /// # Errors
    /// [`MergeError::FileChanged`] when its file was changed in place since it was verified, and for a tensor that is not
    /// there, not in bf16, or shorter: what was copied is worth nothing then.
    pub fn copy_bf16(&self, name: &str, first: usize, to: &mut [bf16]) -> Result<(), MergeError> {
        let Some((index, entry)) = self.tensors.get(name) else {
            return Err(MergeError::FileChanged(format!("{name} is not in its file any more")));
        };
        let (file, bytes) = &self.files[*index];
        // Before and after, as in `checked_tensor`.
        if !self.is_changed(file) && entry.copy_bf16(bytes, first, to) && !self.is_changed(file) {
            return Ok(());
        }
        Err(FileChanged(file.path().to_owned()).into())
    }

    /// Bytes of the files that are in memory; mapped ones are not.
    pub(crate) fn bytes_read(&self) -> u64 {
        match self.weights {
            Weights::Mapped => 0,
            Weights::Read => self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        }
    }

    /// Mapped files that were written to or cut since they were verified.
    pub(crate) fn changed_files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(file, _)| file).filter(|file| self.is_changed(file)).map(PoolFile::path)
    }

    fn is_changed(&self, file: &PoolFile) -> bool {
        self.weights == Weights::Mapped && file.changed()
    }
}
