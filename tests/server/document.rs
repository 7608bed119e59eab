//! The OpenAPI document, walked: a route that is added later is met by every test that walks it.

use reqwest::Method;
use serde_json::Value;

/// One route with one method.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) object: Value,
}

/// The document.
pub(crate) fn document() -> Value {
    serde_json::to_value(tureen::router::document()).unwrap()
}

/// Every operation in it.
pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, object)| Operation {
            method: method.to_uppercase().parse().unwrap(),
            path: path.clone(),
            object: object.clone(),
        })
    });
    operations.collect()
}

impl Operation {
    /// What it asks for: nothing, a key, or a key with a scope.
    pub(crate) fn access(&self) -> &str {
        match self.object["security"][0]["key"].as_array().map(Vec::as_slice) {
            None => "public",
            Some([]) => "any key",
            Some([scope, ..]) => scope.as_str().unwrap(),
        }
    }

    /// The schema of the body that it takes.
    pub(crate) fn body<'a>(&'a self, document: &'a Value) -> Option<&'a Value> {
        let content = self.object["requestBody"]["content"].as_object()?;
        Some(resolve(document, &content.values().next()?["schema"]))
    }

    /// Whether the document says that it may answer with `status`.
    pub(crate) fn tells(&self, status: u16) -> bool {
        self.object["responses"].get(status.to_string()).is_some()
    }
}

/// The schema that a reference stands for.
pub(crate) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}
