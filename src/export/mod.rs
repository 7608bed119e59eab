//! A merged soup as a folder in the Hugging Face layout, in f32.

mod model_config;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tureen_engine::{ChatTemplate, Checkpoint};
use tureen_soup::{Pool, Soup, merge};

/// Why a model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The base could not be read.
    #[error("reading {name} of the base: {reason}")]
    Base {
        /// The tensor.
        name: String,
        /// Why.
        reason: String,
    },
    /// A tensor could not be merged.
    #[error("merging {name}: {source}")]
    Merge {
        /// The tensor.
        name: String,
        /// Why.
        source: merge::MergeError,
    },
    /// The tokenizer has no file form.
    #[error("writing the tokenizer: {0}")]
    Tokenizer(String),
    /// The weights could not be written.
    #[error("writing {path}: {source}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// Another file could not be written.
    #[error("writing {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Writes `model.safetensors`, `config.json` and the tokenizer's files to `out`.
///
/// # Errors
/// When the base cannot be read, a tensor not merged, or a file not written.
pub fn full(base: &Checkpoint, pool: &Pool, soup: &Soup, out: &Path) -> Result<(), ExportError> {
    let mut tensors = Vec::new();
    for name in base.names() {
        tensors.push(merged(base, pool, soup, name)?);
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the bytes were made from this shape");
        (name.as_str(), view)
    });
    // Loaders of the layout ask for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = out.join("model.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path)
        .map_err(|source| ExportError::Weights { path, source })?;
    write(out, "config.json", model_config::json(base.config()).to_string().as_bytes())?;
    share(&out.join("model.safetensors"), &out.join("config.json"))?;
    tokenizer(base, out)
}

/// One tensor of the soup: name, shape (out, in), little-endian f32 bytes.
fn merged(
    base: &Checkpoint,
    pool: &Pool,
    soup: &Soup,
    name: String,
) -> Result<(String, Vec<usize>, Vec<u8>), ExportError> {
    let unreadable = |e: &dyn std::fmt::Display| ExportError::Base { name: name.clone(), reason: e.to_string() };
    let tensor = base.tensor(&name).map_err(|e| unreadable(&e))?;
    let shape = tensor.dims().to_vec();
    let values: Vec<f32> = tensor.flatten_all().and_then(|t| t.to_vec1()).map_err(|e| unreadable(&e))?;
    let soup_values = merge::tensor(pool, soup, &name, &shape, &values)
        .map_err(|source| ExportError::Merge { name: name.clone(), source })?
        .unwrap_or(values);
    let bytes = soup_values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok((name, shape, bytes))
}

/// Gives `path` the permissions of `like`: the weights are written as a private temporary file first.
fn share(path: &Path, like: &Path) -> Result<(), ExportError> {
    let shared = std::fs::metadata(like).and_then(|m| std::fs::set_permissions(path, m.permissions()));
    shared.map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let path = out.join(name);
    std::fs::write(&path, bytes).map_err(|source| ExportError::Write { path, source })
}

fn tokenizer(base: &Checkpoint, out: &Path) -> Result<(), ExportError> {
    let tokenizer = base.tokenizer();
    let json = tokenizer.to_json().map_err(|e| ExportError::Tokenizer(e.to_string()))?;
    write(out, "tokenizer.json", json.as_bytes())?;
    let token = |id: Option<u32>| id.and_then(|id| tokenizer.token(id));
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token(base.config().bos_token_id),
        "eos_token": token(base.config().eos_token_ids.first().copied()),
        "chat_template": base.chat_template().map(ChatTemplate::source),
        "clean_up_tokenization_spaces": false,
    });
    write(out, "tokenizer_config.json", config.to_string().as_bytes())
}
