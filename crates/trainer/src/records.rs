//! Records of JSON and JSONL files, with their place for messages.

use std::path::{Path, PathBuf};

use serde_json::{Deserializer, Map, Value};
use tureen_engine::Message;

use crate::error::TrainError;

/// One object of a file.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    line: usize,
    fields: Map<String, Value>,
}

/// Reads the objects of `path`: one a line, or with the ending `.json` those of one array.
///
/// # Errors
/// A file that cannot be read, or a line that is no object; file and line are named.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, TrainError> {
    let broken = |line, message: String| TrainError::Record { path: path.to_owned(), line, message };
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        broken(1 + before.iter().filter(|byte| **byte == b'\n').count(), "is no UTF-8".into())
    })?;
    let values = if path.extension().is_some_and(|extension| extension == "json") {
        array(&text).map_err(|(line, message)| broken(line, message))?
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parsed = lines.map(|(index, line)| match serde_json::from_str(line) {
            Ok(value) => Ok((index + 1, value)),
            Err(error) => Err(broken(index + 1, error.to_string())),
        });
        parsed.collect::<Result<Vec<_>, _>>()?
    };
    let records = values.into_iter().map(|(line, value)| match value {
        Value::Object(fields) => Ok(Record { path: path.to_owned(), line, fields }),
        _ => Err(broken(line, "is no JSON object".into())),
    });
    records.collect()
}

/// The elements of an array with the lines they begin in.
fn array(text: &str) -> Result<Vec<(usize, Value)>, (usize, String)> {
    let whole: Vec<Value> = serde_json::from_str(text).map_err(|error| (error.line(), error.to_string()))?;
    // The text is an array, so each element lies between two of the marks that are skipped here.
    let (mut at, mut line) = (0, 1);
    let mut placed = Vec::with_capacity(whole.len());
    for value in whole {
        let gap = text[at..].find(|c: char| !c.is_whitespace() && c != '[' && c != ',').unwrap_or(0);
        line += text[at..at + gap].matches('\n').count();
        let mut elements = Deserializer::from_str(&text[at + gap..]).into_iter::<serde::de::IgnoredAny>();
        placed.push((line, value));
        if elements.next().is_none() {
            break;
        }
        let end = at + gap + elements.byte_offset();
        line += text[at + gap..end].matches('\n').count();
        at = end;
    }
    Ok(placed)
}

impl Record {
    /// Whether `field` is there and not null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether `field` is missing, null or a text of white space.
    pub(crate) fn is_blank(&self, field: &str) -> bool {
        self.get(field).is_none_or(|value| value.as_str().is_some_and(|text| text.trim().is_empty()))
    }

    /// Whether `field` holds a list.
    pub(crate) fn is_list(&self, field: &str) -> bool {
        self.get(field).is_some_and(Value::is_array)
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// An error of `field`.
    pub(crate) fn broken(&self, field: &str, message: &str) -> TrainError {
        TrainError::Record { path: self.path.clone(), line: self.line, message: format!("field {field:?} {message}") }
    }

    /// The text in `field`.
    ///
    /// # Errors
    /// A field that is missing, no text, or empty.
    pub(crate) fn text(&self, field: &str) -> Result<&str, TrainError> {
        match self.get(field) {
            None => Err(self.broken(field, "is missing")),
            Some(Value::String(text)) if text.trim().is_empty() => Err(self.broken(field, "is empty")),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.broken(field, "is no text")),
        }
    }

    /// The texts in the list `field`.
    ///
    /// # Errors
    /// A field that is missing or holds something else.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>, TrainError> {
        let list = self.get(field).ok_or_else(|| self.broken(field, "is missing"))?;
        let texts = list.as_array().map(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect());
        texts.flatten().ok_or_else(|| self.broken(field, "is no list of texts"))
    }

    /// The conversation in `field`: a list of `{"role", "content"}`, or a text as one turn of `role`.
    ///
    /// # Errors
    /// A field that is missing, empty, or holds something else.
    pub(crate) fn conversation(&self, field: &str, role: &str) -> Result<Vec<Message>, TrainError> {
        let Some(Value::Array(turns)) = self.get(field) else {
            return Ok(vec![Message { role: role.to_owned(), content: self.text(field)?.to_owned() }]);
        };
        if turns.is_empty() {
            return Err(self.broken(field, "holds no turn"));
        }
        let turn = |(index, turn): (usize, &Value)| {
            let part = |name: &str| {
                let missing = || self.broken(&format!("{field}[{index}].{name}"), "is no text");
                turn.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(missing)
            };
            Ok(Message { role: part("role")?, content: part("content")? })
        };
        turns.iter().enumerate().map(turn).collect()
    }
}
