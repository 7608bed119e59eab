//! Adding a trained policy to a pool.

mod error;
mod place;
mod stage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

pub use error::PublishError;
use stage::Stage;

use crate::hash::sha256_hex;
use crate::manifest::{self, ADAPTER_CONFIG, ADAPTER_MODEL, FORMAT, Kind, RawManifest, RawPolicy};
use crate::{BaseIdentity, Pool, PoolOptions, Revision, atomic};

/// What the manifest says of a policy, but for its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name in preferences; the policy of this name is replaced.
    pub id: String,
    /// The preference's code in the paper, such as `P2A`.
    pub code: String,
    /// The dimension it becomes a pole of; added when it is new.
    pub dimension: String,
    /// What it was trained to do.
    pub instruction: String,
    /// SPDX name of the licence its weights are under.
    pub license: String,
}

/// Copies `adapter_config.json` and `adapter_model.safetensors` from the PEFT folder `from` into the pool, enters them
/// in its manifest (made when there is none), and returns the new revision. Other files of the policy's folder stay;
/// comments in the manifest do not.
///
/// The policy is read as the server would before anything in the pool is touched, and the whole pool afterwards; on
/// any error the pool is put back as it was. Files are replaced by renaming and the manifest last, under a lock of the
/// folder: a server that reads the pool in between finds a hash that does not fit, waits for the lock and reads again
/// ([`Pool::open`]). It never gets other weights than those named, also where a file system has no locks or a publisher
/// was killed half-way; such a pool is refused until the policy is published again. Two publishers wait for each other.
///
/// # Errors
/// [`PublishError`]: files that cannot be read or written, a pool for another base, or a policy (or pool) that is not
/// sound.
pub fn add_policy(pool_dir: &Path, base: &BaseIdentity, entry: &Entry, from: &Path) -> Result<Revision, PublishError> {
    fs::create_dir_all(pool_dir).map_err(PublishError::io(pool_dir))?;
    let folder = File::open(pool_dir).map_err(PublishError::io(pool_dir))?;
    folder.lock().map_err(PublishError::io(pool_dir))?;

    let manifest_path = pool_dir.join(manifest::FILE);
    let old_manifest = read_if_there(&manifest_path)?;
    let raw = parse(old_manifest.as_deref(), base, pool_dir)?;
    let mut files = BTreeMap::new();
    for name in [ADAPTER_CONFIG, ADAPTER_MODEL] {
        let path = from.join(name);
        files.insert(name, fs::read(&path).map_err(PublishError::io(&path))?);
    }
    let hashes = files.iter().map(|(name, bytes)| ((*name).to_owned(), sha256_hex(bytes))).collect();
    let policy = RawPolicy {
        id: entry.id.clone(),
        code: entry.code.clone(),
        dimension: entry.dimension.clone(),
        instruction: entry.instruction.clone(),
        kind: Kind::Lora,
        dir: place::folder(&raw, &entry.id)?,
        license: entry.license.clone(),
        files: hashes,
    };
    let alone = RawManifest { format: FORMAT, base: base.clone(), dimension: Vec::new(), policy: Vec::new() };
    let alone = text(&place::enter(alone, policy.clone()))?;
    let all = text(&place::enter(raw, policy.clone()))?;

    let mut stage = Stage::new(pool_dir, &policy.dir, &files, &alone)?;
    Pool::read(stage.path(), &PoolOptions::default()).map_err(PublishError::Refused)?;
    stage.swap_in()?;
    atomic::write(pool_dir, manifest::FILE, all.as_bytes()).map_err(PublishError::io(&manifest_path))?;
    match Pool::read(pool_dir, &PoolOptions::default()) {
        Ok(pool) => {
            stage.keep();
            Ok(*pool.revision())
        }
        Err(e) => {
            restore(pool_dir, old_manifest.as_deref())?;
            Err(PublishError::Refused(e))
        }
    }
}

fn restore(pool_dir: &Path, old_manifest: Option<&str>) -> Result<(), PublishError> {
    let path = pool_dir.join(manifest::FILE);
    let restored = match old_manifest {
        Some(text) => atomic::write(pool_dir, manifest::FILE, text.as_bytes()),
        None => fs::remove_file(&path),
    };
    restored.map_err(PublishError::io(&path))
}

fn read_if_there(path: &Path) -> Result<Option<String>, PublishError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(PublishError::io(path)(e)),
    }
}

fn parse(text: Option<&str>, base: &BaseIdentity, pool_dir: &Path) -> Result<RawManifest, PublishError> {
    let Some(text) = text else {
        return Ok(RawManifest { format: FORMAT, base: base.clone(), dimension: Vec::new(), policy: Vec::new() });
    };
    let unreadable = |e: toml::de::Error| PublishError::Manifest { dir: pool_dir.to_owned(), reason: e.to_string() };
    let raw: RawManifest = toml::from_str(text).map_err(unreadable)?;
    if raw.base != *base {
        return Err(PublishError::OtherBase { pool: Box::new(raw.base), given: Box::new(base.clone()) });
    }
    Ok(raw)
}

fn text(manifest: &RawManifest) -> Result<String, PublishError> {
    let text = toml::to_string(manifest).map_err(PublishError::Unwritable)?;
    Ok(format!(
        "# The pool's policies. Written anew whenever one is published; every sha256 is checked at start-up.\n{text}"
    ))
}
