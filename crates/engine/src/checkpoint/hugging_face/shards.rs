//! The weights of a directory: one safetensors file, or several with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::Path;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::digest;
use crate::checkpoint::file::Watched;
use crate::checkpoint::hugging_face::document::{Document, MAX_SETTINGS};
use crate::checkpoint::hugging_face::safetensors::{self, TensorInfo};
use crate::checkpoint::layout::Shapes;
use crate::checkpoint::stored::{Encoding, Stored};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_SHARDS: usize = 1024;

/// Open weight files.
pub(crate) struct Shards {
    files: Vec<(String, Watched)>,
    /// Place in `files` and in the file, by name.
    tensors: BTreeMap<String, (usize, TensorInfo)>,
}

impl Shards {
    /// `tied`: the output projection is the embedding, so that a stored copy of it does not count.
    pub(crate) fn open(directory: &Path, tied: bool) -> Result<Self, CheckpointError> {
        let index = match directory.join(SINGLE).exists() {
            true => None,
            false => Document::read_optional(&directory.join(INDEX), MAX_SETTINGS)?,
        };
        let weight_map = index.as_ref().map(weight_map).transpose()?;
        let names: BTreeSet<&str> = match &weight_map {
            Some(map) => map.values().copied().collect(),
            None => [SINGLE].into(),
        };
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        for name in names {
            shards.add(directory, name)?;
        }
        for (tensor, file) in weight_map.iter().flatten() {
            if shards.tensors.get(*tensor).is_none_or(|(place, _)| shards.files[*place].0 != *file) {
                return Err(CheckpointError::Weights(vec![format!("{tensor} is not in {file}, where {INDEX} says")]));
            }
        }
        // Old checkpoints carry the rotary frequencies, which follow from the configuration.
        shards.tensors.retain(|name, _| !(name.ends_with(".rotary_emb.inv_freq") || tied && name == "lm_head.weight"));
        Ok(shards)
    }

    fn add(&mut self, directory: &Path, name: &str) -> Result<(), CheckpointError> {
        let path = directory.join(name);
        let file = Watched::open(&path)?;
        let length = file.length();
        let tensors = file.with(|file| safetensors::read(BufReader::new(file), length))?;
        let place = self.files.len();
        for (tensor, info) in tensors.map_err(|reason| CheckpointError::format(&path, reason))? {
            if self.tensors.insert(tensor.clone(), (place, info)).is_some() {
                return Err(CheckpointError::format(&path, format!("{tensor} is in another file, too")));
            }
        }
        self.files.push((name.to_owned(), file));
        Ok(())
    }

    /// Names and hashes of the files.
    pub(crate) fn sha256s(&self) -> Result<Vec<(String, String)>, CheckpointError> {
        self.files.iter().map(|(name, file)| Ok((name.clone(), file.with(|file| digest::sha256(file))?))).collect()
    }

    pub(crate) fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, (_, info))| (name.clone(), info.shape.clone())).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, info)| info.shape.as_slice())
    }

    pub(crate) fn stored(&self, name: &str) -> Result<Stored, CheckpointError> {
        let (place, info) = self.tensors.get(name).ok_or_else(|| CheckpointError::UnknownTensor(name.to_owned()))?;
        let bytes = self.files[*place].1.bytes(info.start, info.size)?;
        Ok(Stored { bytes, encoding: Encoding::Plain(info.dtype), shape: info.shape.clone(), head: None })
    }
}

/// Tensor to file; a file is a name, never a path.
fn weight_map(index: &Document) -> Result<BTreeMap<&str, &str>, CheckpointError> {
    let map = index.value["weight_map"].as_object().ok_or_else(|| index.error("weight_map is missing"))?;
    let mut files = BTreeMap::new();
    for (tensor, file) in map {
        let plain =
            |file: &&str| file.ends_with(".safetensors") && !file.contains(['/', '\\']) && !file.starts_with('.');
        let file = file.as_str().filter(plain);
        let file = file.ok_or_else(|| index.error(format!("the file of {tensor} is no name of a safetensors file")))?;
        files.insert(tensor.as_str(), file);
    }
    if files.values().collect::<BTreeSet<_>>().len() > MAX_SHARDS {
        return Err(index.error(format!("over {MAX_SHARDS} files")));
    }
    Ok(files)
}
