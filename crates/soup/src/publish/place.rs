//! Where a policy goes in the manifest.

use super::PublishError;
use crate::manifest::{RawDimension, RawManifest, RawPolicy};

/// The folder of policy `id`: the one it has, or one of its own name.
pub(super) fn folder(manifest: &RawManifest, id: &str) -> Result<String, PublishError> {
    if let Some(policy) = manifest.policy.iter().find(|policy| policy.id == id) {
        return Ok(policy.dir.clone());
    }
    match manifest.policy.iter().find(|policy| policy.dir == id) {
        Some(owner) => Err(PublishError::FolderTaken { dir: id.to_owned(), owner: owner.id.clone() }),
        None => Ok(id.to_owned()),
    }
}

/// Replaces or adds `policy`, and makes it a pole of its dimension and of no other. A dimension without poles goes.
pub(super) fn enter(mut manifest: RawManifest, policy: RawPolicy) -> RawManifest {
    for dimension in manifest.dimension.iter_mut().filter(|d| d.id != policy.dimension) {
        dimension.poles.retain(|pole| *pole != policy.id);
    }
    match manifest.dimension.iter_mut().find(|d| d.id == policy.dimension) {
        Some(dimension) if dimension.poles.contains(&policy.id) => {}
        Some(dimension) => dimension.poles.push(policy.id.clone()),
        None => {
            let poles = vec![policy.id.clone()];
            manifest.dimension.push(RawDimension { id: policy.dimension.clone(), poles });
        }
    }
    manifest.dimension.retain(|dimension| !dimension.poles.is_empty());
    match manifest.policy.iter_mut().find(|p| p.id == policy.id) {
        Some(old) => *old = policy,
        None => manifest.policy.push(policy),
    }
    manifest
}
