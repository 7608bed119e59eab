//! Typed access to the metadata.

use std::collections::BTreeMap;

use crate::checkpoint::gguf::GgufError;
use crate::checkpoint::gguf::value::Value;

/// Largest size or count accepted from the metadata; products of three of them fit into u64.
const MAX_SIZE: usize = 1 << 21;

#[derive(Debug, Default)]
pub(crate) struct Metadata(pub(crate) BTreeMap<String, Value>);

impl Metadata {
    /// A size or count between 1 and 2^21.
    pub(crate) fn size(&self, key: &str) -> Result<usize, GgufError> {
        self.optional_size(key)?.ok_or_else(|| GgufError::MissingKey(key.to_owned()))
    }

    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>, GgufError> {
        let expected = "an integer from 1 to 2^21";
        self.get(key, expected, |value| match value {
            Value::Integer(value) => usize::try_from(*value).ok().filter(|value| (1..=MAX_SIZE).contains(value)),
            _ => None,
        })
    }

    pub(crate) fn id(&self, key: &str) -> Result<Option<u32>, GgufError> {
        // llama.cpp writes 2^32 - 1 for "no such token".
        let id = self.get(key, "a token id", |value| match value {
            Value::Integer(value) => u32::try_from(*value).ok(),
            _ => None,
        })?;
        Ok(id.filter(|id| *id != u32::MAX))
    }

    /// A finite number above zero.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a number above zero", |value| match value {
            Value::Float(value) => Some(*value).filter(|value| value.is_finite() && *value > 0.0),
            _ => None,
        })
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        // Some converters write booleans as integers.
        self.get(key, "a boolean", |value| match value {
            Value::Bool(value) => Some(*value),
            Value::Integer(value) => Some(*value != 0),
            _ => None,
        })
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.get(key, "a string", |value| match value {
            Value::String(value) => Some(value.as_str()),
            _ => None,
        })
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.get(key, "an array of strings", |value| match value {
            Value::Strings(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn integers(&self, key: &str) -> Result<Option<&[i64]>, GgufError> {
        self.get(key, "an array of integers", |value| match value {
            Value::Integers(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn floats(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.get(key, "an array of numbers", |value| match value {
            Value::Floats(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| GgufError::Value { key: key.to_owned(), expected })
    }
}
