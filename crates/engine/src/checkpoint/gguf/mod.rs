//! GGUF checkpoints: one file with weights, configuration, tokenizer and chat template.

mod config;
mod cursor;
mod dtype;
mod error;
mod header;
pub(crate) mod metadata;
mod names;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

pub use self::error::GgufError;
use self::header::{Header, TensorInfo};
use self::metadata::Metadata;
use crate::chat::ChatTemplate;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::digest;
use crate::checkpoint::file::Watched;
use crate::checkpoint::layout::Shapes;
use crate::checkpoint::stored::{Encoding, Stored};
use crate::model_config::{ModelConfig, RopeScaling};
use crate::tokenizer::{Refusal, Tokenizer};

/// Opens a file with its tokenizer and chat template.
pub(crate) fn open(path: &Path) -> Result<(GgufFile, Tokenizer, Option<ChatTemplate>), CheckpointError> {
    let (file, metadata) = GgufFile::open(path)?;
    let at = |source| CheckpointError::Gguf { path: path.to_owned(), source };
    let tokenizer = Tokenizer::from_gguf(&metadata).map_err(|refusal| match refusal {
        Refusal::Gguf(source) => at(source),
        Refusal::Tokenizer(error) => error.into(),
    })?;
    let source = metadata.string("tokenizer.chat_template").map_err(at)?;
    let token = |key| metadata.id(key).map(|id| id.and_then(|id| tokenizer.token(id))).map_err(at);
    let (bos, eos) = (token("tokenizer.ggml.bos_token_id")?, token("tokenizer.ggml.eos_token_id")?);
    let chat_template = source.map(|source| ChatTemplate::new(source, bos, eos)).transpose()?;
    Ok((file, tokenizer, chat_template))
}

/// An open GGUF file.
pub(crate) struct GgufFile {
    file: Watched,
    /// By Hugging Face name.
    tensors: BTreeMap<String, TensorInfo>,
    pub(crate) config: ModelConfig,
    pub(crate) sha256: String,
}

impl GgufFile {
    fn open(path: &Path) -> Result<(Self, Metadata), CheckpointError> {
        let at = |source| CheckpointError::Gguf { path: path.to_owned(), source };
        let file = Watched::open(path)?;
        let length = file.length();
        let header = file.with(|file| Ok(Header::read(BufReader::new(file), length)))?.map_err(at)?;
        let mut config = config::read(&header).map_err(|error| error.at(path))?;
        let Header { metadata, tensors: mut stored } = header;
        let divisors = stored.remove("rope_freqs.weight");
        let mut tensors = BTreeMap::new();
        let mut unknown = Vec::new();
        for (name, info) in stored {
            match names::hugging_face(&name) {
                Some(name) => drop(tensors.insert(name, info)),
                None => unknown.push(format!("{name} is unknown")),
            }
        }
        if !unknown.is_empty() {
            unknown.truncate(50);
            return Err(CheckpointError::Weights(unknown));
        }
        let sha256 = file.with(|file| digest::sha256(file))?;
        if let Some(info) = divisors {
            config.rope_scaling = Some(divisors_of(&file, &info, config.head_dim)?);
        }
        Ok((Self { file, tensors, config, sha256 }, metadata))
    }

    pub(crate) fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, info)| (name.clone(), info.shape.clone())).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| info.shape.as_slice())
    }

    pub(crate) fn stored(&self, name: &str) -> Result<Stored, CheckpointError> {
        let info = self.tensors.get(name).ok_or_else(|| CheckpointError::UnknownTensor(name.to_owned()))?;
        let permuted =
            self.config.architecture == "llama" && [".q_proj.", ".k_proj."].iter().any(|part| name.contains(part));
        Ok(Stored { head: permuted.then_some(self.config.head_dim), ..read(&self.file, info)? })
    }
}

fn read(file: &Watched, info: &TensorInfo) -> Result<Stored, CheckpointError> {
    let bytes = file.bytes(info.start, info.size)?;
    Ok(Stored { bytes, encoding: Encoding::Ggml(info.dtype), shape: info.shape.clone(), head: None })
}

fn divisors_of(file: &Watched, info: &TensorInfo, head_dim: usize) -> Result<RopeScaling, CheckpointError> {
    let divisors: Vec<f64> =
        read(file, info)?.tensor()?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
    if divisors.len() != head_dim / 2 || divisors.iter().any(|divisor| !divisor.is_finite() || *divisor <= 0.0) {
        return Err(CheckpointError::Weights(vec!["rope_freqs.weight does not fit the heads".into()]));
    }
    Ok(RopeScaling::Divisors(divisors))
}
