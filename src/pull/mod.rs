//! Fetching the base model: the sources in order, each checked against the pool's sha256, moved into place at the end.

mod hub;
mod manifest;
mod place;
mod pypi;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Config;

pub use source::{Source, SourceError};

/// Why the base could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Every source failed.
    #[error("{0}")]
    EverySourceFailed(Attempts),
    /// A source in the configuration cannot be understood.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest is there but unreadable.
    #[error("{path}: {reason}")]
    Manifest {
        /// `pool.toml`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The target folder cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is a file, but not the one the pool was made for.
    #[error(
        "{path} has sha256 {got}, but the pool was made for {expected}; move the file away and run `tureen pull` again"
    )]
    AnotherFile {
        /// The file at hand.
        path: PathBuf,
        /// Its hash.
        got: String,
        /// The hash in the manifest.
        expected: String,
    },
}

/// Each source with what went wrong there.
#[derive(Debug)]
pub struct Attempts {
    path: PathBuf,
    failed: Vec<(String, String)>,
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the base {} is missing and no source gave it:", self.path.display())?;
        for (source, error) in &self.failed {
            write!(f, "\n  {source}\n    {error}")?;
        }
        write!(
            f,
            "\nIf this machine is offline, copy the file there from another one, or set [base] path to a model you have."
        )
    }
}

/// What [`pull`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The right file was there.
    AlreadyThere,
    /// It came from this source.
    From(String),
}

/// Makes sure the base is at its place. Blocking: call it outside the async runtime.
///
/// The sha256 comes from the pool's manifest. Without a pool what arrives cannot be checked, and a warning says so.
///
/// # Errors
/// When every source failed, or a file of another hash is in the way.
pub fn pull(config: &Config) -> Result<Pulled, PullError> {
    let target = &config.base.path;
    let expected = manifest::base_sha256(config.pool.dir.as_deref())?;
    if target.exists() {
        return check_present(target, expected.as_deref()).map(|()| Pulled::AlreadyThere);
    }
    if expected.is_none() {
        eprintln!("warning: no pool.toml states the sha256 of the base, so what arrives is not checked");
    }
    let mut failed = Vec::new();
    for text in &config.base.sources {
        eprintln!("fetching {} from {text}", target.display());
        match text.parse::<Source>()?.fetch(target, expected.as_deref()) {
            Ok(()) => return Ok(Pulled::From(text.clone())),
            Err(error) => failed.push((text.clone(), error.to_string())),
        }
    }
    if failed.is_empty() {
        failed.push(("(none)".into(), "[base] sources is empty".into()));
    }
    Err(PullError::EverySourceFailed(Attempts { path: target.clone(), failed }))
}

fn check_present(path: &Path, expected: Option<&str>) -> Result<(), PullError> {
    // A model folder has a hash of its own, which the engine computes and compares at start.
    let (Some(expected), true) = (expected, path.is_file()) else { return Ok(()) };
    let got = place::sha256(path).map_err(|source| PullError::Write { path: path.to_owned(), source })?;
    if got == expected {
        return Ok(());
    }
    Err(PullError::AnotherFile { path: path.to_owned(), got, expected: expected.to_owned() })
}
