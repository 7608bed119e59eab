//! What transformers adds to Jinja for chat templates.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;

use crate::chat::clock;

/// Marks an error made by `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Raised(pub(crate) String);

/// The template refuses the conversation.
pub(crate) fn raise_exception(reason: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(reason)))
}

/// The present time in UTC, for templates that tell the model the date.
pub(crate) fn strftime_now(format: &str) -> Result<String, Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    clock::format(seconds, format).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "unknown time format"))
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which transformers uses in place of Jinja's own
/// filter; the latter escapes for HTML.
pub(crate) fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let json = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let mut bytes = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(failed)?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        None => {
            let mut bytes = Vec::new();
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).map_err(failed)?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    Ok(Value::from_safe_string(json))
}

/// A space after commas and colons, as Python writes JSON.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
