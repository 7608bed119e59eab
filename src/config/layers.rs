//! Laying the file and the environment over the defaults.
//!
//! The default of each key fixes its type, so a misspelt key or a word where a number belongs is named together with
//! the file or variable it came from, before anything is interpreted.

use std::path::Path;

use toml::{Table, Value};

use super::ConfigError;
use super::raw::RawConfig;

/// The commented file of defaults, as shipped.
pub const DEFAULTS: &str = include_str!("../../config.toml");

const PREFIX: &str = "TUREEN__";

/// Defaults, then `file`, then the variables that start with `TUREEN__`.
pub(super) fn merge(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<RawConfig, ConfigError> {
    let mut table: Table = DEFAULTS.parse().expect("the shipped config.toml is valid: a test reads it");
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let given: Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::NotToml { path: path.to_owned(), source: Box::new(e) })?;
        overlay_file(&mut table, given, &path.display().to_string())?;
    }
    for (name, text) in env {
        if let Some(rest) = name.strip_prefix(PREFIX) {
            overlay_variable(&mut table, &name, rest, &text)?;
        }
    }
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|e| ConfigError::OutOfRange { key: e.path().to_string(), reason: e.inner().message().to_owned() })
}

fn overlay_file(table: &mut Table, given: Table, origin: &str) -> Result<(), ConfigError> {
    for (section, values) in given {
        let known = names(table);
        let Some(Value::Table(defaults)) = table.get_mut(&section) else {
            return Err(ConfigError::UnknownKey { origin: origin.into(), key: section, known });
        };
        let Value::Table(values) = values else {
            return Err(wrong(origin, &section, "a section", &values));
        };
        for (key, value) in values {
            let path = format!("{section}.{key}");
            let known = names(defaults);
            let Some(slot) = defaults.get_mut(&key) else {
                return Err(ConfigError::UnknownKey { origin: origin.into(), key: path, known });
            };
            if value.type_str() != slot.type_str() {
                return Err(wrong(origin, &path, article(slot), &value));
            }
            *slot = value;
        }
    }
    Ok(())
}

fn overlay_variable(table: &mut Table, name: &str, rest: &str, text: &str) -> Result<(), ConfigError> {
    let unknown = |known| ConfigError::UnknownKey { origin: name.into(), key: rest.to_lowercase(), known };
    let (section, key) = rest.split_once("__").ok_or_else(|| unknown("TUREEN__SECTION__KEY".into()))?;
    let known = names(table);
    let Some(Value::Table(defaults)) = table.get_mut(&section.to_lowercase()) else {
        return Err(unknown(known));
    };
    let known = names(defaults);
    let Some(slot) = defaults.get_mut(&key.to_lowercase()) else {
        return Err(unknown(known));
    };
    let parsed = match slot {
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Float(_) => text.trim().parse().ok().map(Value::Float),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        Value::Array(_) if text.trim_start().starts_with('[') => inline(text),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|s| !s.is_empty());
            Some(Value::Array(items.map(|s| Value::String(s.to_owned())).collect()))
        }
        _ => Some(Value::String(text.to_owned())),
    };
    // The text is left out of the message: it may be a secret set under the wrong name.
    *slot = parsed.ok_or_else(|| ConfigError::WrongType {
        origin: name.into(),
        key: format!("{section}.{key}").to_lowercase(),
        expected: article(slot),
        got: "something else".into(),
    })?;
    Ok(())
}

/// A list as TOML writes it: one of sections cannot be written with commas alone.
fn inline(text: &str) -> Option<Value> {
    let mut table: Table = format!("list = {}", text.trim()).parse().ok()?;
    table.remove("list").filter(|_| table.is_empty())
}

fn names(table: &Table) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
        _ => "a string",
    }
}

fn wrong(origin: &str, key: &str, expected: &'static str, got: &Value) -> ConfigError {
    ConfigError::WrongType { origin: origin.into(), key: key.into(), expected, got: article(got).into() }
}
