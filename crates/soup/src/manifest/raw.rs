//! The manifest, field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::BaseIdentity;

/// The only format there is.
pub(crate) const FORMAT: i64 = 1;

/// The whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawManifest {
    pub(crate) format: i64,
    pub(crate) base: BaseIdentity,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dimension: Vec<RawDimension>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy: Vec<RawPolicy>,
}

/// One `[[dimension]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDimension {
    pub(crate) id: String,
    pub(crate) poles: Vec<String>,
}

/// One `[[policy]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPolicy {
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) dimension: String,
    pub(crate) instruction: String,
    pub(crate) kind: Kind,
    /// One component, relative to the manifest.
    pub(crate) dir: String,
    pub(crate) license: String,
    /// sha256 of every file that is read. Last: a table must follow the plain values.
    pub(crate) files: BTreeMap<String, String>,
}

/// What a policy's folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Lora,
    Full,
}
