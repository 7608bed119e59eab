//! Reading a pool from its folder.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Pool, PoolOptions, gram};
use crate::file::{FileError, PoolFile};
use crate::hash::{Hasher, sha256_hex};
use crate::manifest::{self, ADAPTER_CONFIG, ADAPTER_MODEL, Kind, Manifest, RawPolicy};
use crate::problem::Problems;
use crate::{FullPolicy, LoraPolicy, Policy, PolicyId, PolicyWeights, PoolError, Revision, limits, peft};

impl Pool {
    /// Reads `dir`/pool.toml and every file it names, and no other file.
    ///
    /// A pool that is not sound is read a second time, when no publisher is at work in it: whoever opens it while
    /// [`add_policy`](crate::publish::add_policy) replaces a policy gets the pool before or after, not a refusal.
    ///
    /// # Errors
    /// [`PoolError::Invalid`] with every problem there is, when the pool is not exactly as its manifest says;
    /// [`PoolError::Manifest`] when there is no manifest to read.
    pub fn open(dir: &Path, options: &PoolOptions) -> Result<Self, PoolError> {
        match Self::read(dir, options) {
            Ok(pool) => Ok(pool),
            Err(error) => match quiet(dir) {
                Ok(_lock) => Self::read(dir, options),
                // A file system without locks, or no folder at all: what was seen stands.
                Err(_) => Err(error),
            },
        }
    }

    /// [`Self::open`] for a publisher, whose lock would never let the second reading begin.
    pub(crate) fn read(dir: &Path, options: &PoolOptions) -> Result<Self, PoolError> {
        let mut problems = Problems::default();
        let bytes = read_manifest(dir, &mut problems)?;
        let manifest = match std::str::from_utf8(&bytes) {
            Ok(text) => Manifest::parse(text, &mut problems),
            Err(e) => {
                problems.add(manifest::FILE, e);
                None
            }
        };
        let Some(Manifest { base, dimensions, policies: entries }) = manifest else {
            return Err(problems.into_result().err().unwrap_or(PoolError::Invalid(Vec::new())));
        };
        let revision = revision(&bytes, &entries);
        let mut policies = Vec::new();
        for (id, entry) in entries {
            policies.extend(load(dir, id, entry, options, &mut problems));
        }
        problems.into_result()?;
        let gram = gram::of(&policies);
        Ok(Self { base, dimensions, policies, revision, gram })
    }
}

/// Waits for the publisher at work in `dir`, and keeps the next one out for as long as the file is open.
fn quiet(dir: &Path) -> io::Result<File> {
    let folder = File::open(dir)?;
    folder.lock_shared()?;
    Ok(folder)
}

fn read_manifest(dir: &Path, problems: &mut Problems) -> Result<Vec<u8>, PoolError> {
    // The folder itself may be reached over a link: that is the operator's choice, not a file's.
    let resolved = dir.canonicalize().map_err(|source| unreadable(dir, source))?;
    let read = || {
        let file = PoolFile::open(&resolved, manifest::FILE)?;
        file.require_at_most(limits::MANIFEST_BYTES)?;
        file.read()
    };
    match read() {
        Ok(bytes) => Ok(bytes),
        Err(FileError::Io(source)) => Err(unreadable(dir, source)),
        Err(FileError::Missing) => Err(unreadable(dir, io::ErrorKind::NotFound.into())),
        Err(e) => {
            problems.add(manifest::FILE, e);
            Err(std::mem::take(problems).into_result().err().unwrap_or(PoolError::Invalid(Vec::new())))
        }
    }
}

fn unreadable(dir: &Path, source: io::Error) -> PoolError {
    PoolError::Manifest { path: dir.join(manifest::FILE), source }
}

/// The manifest names every file's hash, so its bytes would do; the hashes are added to say what is meant.
fn revision(manifest: &[u8], entries: &[(PolicyId, RawPolicy)]) -> Revision {
    let mut hasher = Hasher::new("tureen pool 1").field(manifest);
    for (_, entry) in entries {
        for (name, sha256) in &entry.files {
            hasher = hasher.field(entry.dir.as_bytes()).field(name.as_bytes()).field(sha256.as_bytes());
        }
    }
    Revision(hasher.finish())
}

fn load(pool: &Path, id: PolicyId, entry: RawPolicy, options: &PoolOptions, problems: &mut Problems) -> Option<Policy> {
    let place = format!("policy {id}:");
    let dir = pool.join(&entry.dir);
    let weights = match entry.kind {
        Kind::Lora => lora(&dir, &entry, options, &place, problems).map(PolicyWeights::Lora),
        Kind::Full => FullPolicy::load(&dir, &entry.files, options.weights, &place, problems).map(PolicyWeights::Full),
    }?;
    let RawPolicy { id: _, code, dimension, instruction, kind: _, dir: _, license, files: _ } = entry;
    Some(Policy { id, code, dimension, instruction, license, weights })
}

fn lora(
    dir: &Path,
    entry: &RawPolicy,
    options: &PoolOptions,
    place: &str,
    problems: &mut Problems,
) -> Option<LoraPolicy> {
    let verified = |name: &str, limit: u64, problems: &mut Problems| {
        let sha256 = entry.files.get(name).expect("the manifest's check asked for this file");
        let read = || -> Result<_, FileError> {
            let file = PoolFile::open(dir, name)?;
            file.require_at_most(limit)?;
            let bytes = file.bytes(options.weights)?;
            Ok((file, bytes))
        };
        match read() {
            Err(e) => problems.add(format_args!("{place} {name}"), e),
            Ok((file, bytes)) => {
                let found = sha256_hex(&bytes);
                if found == *sha256 {
                    return Some((file, bytes));
                }
                let what = format!("its sha256 is {found}, the manifest says {sha256}");
                problems.add(format_args!("{place} {name}"), what);
            }
        }
        None
    };
    let config = verified(ADAPTER_CONFIG, limits::ADAPTER_CONFIG_BYTES, problems);
    let model = verified(ADAPTER_MODEL, u64::MAX, problems);
    let ((config_file, config), (model_file, model)) = (config?, model?);
    let lora = peft::load(&config, &model, &place, problems)?;
    // The factors are copied by now, and the maps are let go: what happens to the files later does no harm.
    for file in [config_file, model_file].iter().filter(|file| file.changed()) {
        problems.add(place, format_args!("{} {}", file.path().display(), FileError::Changed));
    }
    Some(lora)
}
