//! Random requests to every route of the document: valid ones, nearly valid ones, and nonsense. None of them is a 5xx that
//! the document does not announce, none a status that it does not know, and nothing panics.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::document::{Operation, document, operations, resolve};
use crate::rollout;

/// TUREEN_RANDOM_REQUESTS=2000 for a long run, TUREEN_RANDOM_SEED=N for others.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |n| n.parse().unwrap())
}

const TEXTS: [&str; 12] = [
    "concise",
    "friendly",
    "u-1",
    "user",
    "",
    "a b",
    "ä\u{1f600}\u{202e}",
    "\0",
    "soup:concise=0.5",
    "profile:u-1",
    "concise=1,friendly=nan",
    "exact",
];

/// Makes what a schema describes, and spoils it.
struct Maker<'a> {
    document: &'a Value,
    /// The id of a review that waits.
    review: String,
    random: StdRng,
    /// What chance would never find: the revision in the candidate's folder.
    revision: String,
}

impl Maker<'_> {
    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_ratio(1, n)
    }

    fn text(&mut self) -> String {
        match self.random.random_range(0..8) {
            0 => "x".repeat(self.random.random_range(1..400)),
            1 => self.random.random_range(0..100_000).to_string(),
            _ => (*TEXTS.choose(&mut self.random).unwrap()).to_owned(),
        }
    }

    /// A value of this schema, now and then outside its bounds.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        let schema = resolve(self.document, schema);
        if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            let choice = choices.choose(&mut self.random).unwrap();
            return self.value(choice, depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.choose(&mut self.random).unwrap().clone();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
            _ => vec!["string", "integer", "object", "null"],
        };
        match *kinds.choose(&mut self.random).unwrap() {
            "string" => json!(self.text()),
            "boolean" => json!(self.random.random::<bool>()),
            "integer" => self.integer(),
            "number" => self.number(),
            "array" => {
                let count = self.random.random_range(0..3);
                Value::Array((0..count).map(|_| self.value(&schema["items"], depth + 1)).collect())
            }
            "object" => self.object(schema, depth),
            _ => Value::Null,
        }
    }

    fn integer(&mut self) -> Value {
        let numbers = [json!(0), json!(1), json!(2), json!(7), json!(-1), json!(i64::MAX), json!(u64::MAX)];
        numbers.choose(&mut self.random).unwrap().clone()
    }

    fn number(&mut self) -> Value {
        let numbers =
            [json!(0.0), json!(0.5), json!(1), json!(0.25), json!(-0.0), json!(-3), json!(1e308), json!(5e-324)];
        numbers.choose(&mut self.random).unwrap().clone()
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        let required: BTreeSet<_> = schema["required"].as_array().into_iter().flatten().map(Value::to_string).collect();
        // Few fields at a time: many of them exclude each other.
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&json!(name).to_string()) || (depth < 4 && self.one_in(4)) {
                object.insert(name.clone(), self.value(field, depth + 1));
            }
        }
        if let more @ Value::Object(_) = &schema["additionalProperties"] {
            for _ in 0..self.random.random_range(0..3) {
                object.insert(self.text(), self.value(more, depth + 1));
            }
        }
        Value::Object(object)
    }

    /// A body: the example, a value of the schema, or one of them spoilt.
    fn body(&mut self, schema: &Value) -> Vec<u8> {
        let mut value = if self.one_in(3) { schema["example"].clone() } else { self.value(schema, 0) };
        if self.one_in(3) {
            let other = self.value(schema, 0);
            merge(&mut value, other);
        }
        if self.one_in(4) {
            let strange = self.value(&Value::Null, 0);
            replace_somewhere(&mut value, strange, &mut self.random);
        }
        let fields = value.as_object_mut().filter(|_| !schema["properties"]["revision"].is_null());
        if let Some(fields) = fields.filter(|_| self.random.random_ratio(1, 2)) {
            fields.insert("revision".to_owned(), json!(self.revision));
        }
        let mut bytes = value.to_string().into_bytes();
        if !bytes.is_empty() && self.one_in(4) {
            let at = self.random.random_range(0..bytes.len());
            match self.random.random_range(0..5) {
                0 => bytes.truncate(at),
                1 => bytes[at] = self.random.random(),
                2 => drop(bytes.splice(at..at, *b"1e999")),
                3 => bytes = "[".repeat(2000).into_bytes(),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }

    /// The path with names in it, and what may stand behind it.
    fn path(&mut self, operation: &Operation) -> String {
        // Often a name that is known by now, and a policy's. Without any it would be another route.
        let name = if self.one_in(2) { String::new() } else { self.text() };
        let known = if operation.path.contains("/reviews/") { self.review.as_str() } else { "concise" };
        let name = if name.is_empty() { known.to_owned() } else { name };
        let mut path = operation.path.replace("{id}", &encoded(&name));
        let mut mark = '?';
        for parameter in operation.object["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" && self.one_in(2) {
                let value = if self.one_in(2) { self.text() } else { self.value(&parameter["schema"], 0).to_string() };
                path += &format!("{mark}{}={}", parameter["name"].as_str().unwrap(), encoded(&value));
                mark = '&';
            }
        }
        path
    }

    fn headers(&mut self, operation: &Operation) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for parameter in operation.object["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "header" && self.one_in(3) {
                let values = ["*", "\"0123\"", "W/\"a\"", "k-1", "k-2", "", ",,", "no quotes"];
                let value = *values.choose(&mut self.random).unwrap();
                headers.push((parameter["name"].as_str().unwrap().to_owned(), value.to_owned()));
            }
        }
        headers
    }
}

fn encoded(text: &str) -> String {
    let byte =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}

fn merge(into: &mut Value, other: Value) {
    if let (Value::Object(into), Value::Object(other)) = (into, other) {
        into.extend(other);
    }
}

fn replace_somewhere(value: &mut Value, strange: Value, random: &mut StdRng) {
    let inner: Vec<&mut Value> = match value {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    let count = inner.len();
    match inner.into_iter().nth(if count == 0 { 0 } else { random.random_range(0..count) }) {
        Some(inner) if random.random_ratio(1, 2) => replace_somewhere(inner, strange, random),
        Some(inner) => *inner = strange,
        None => *value = strange,
    }
}

#[tokio::test]
async fn whatever_is_sent_the_document_knows_the_answer() {
    let checks = r#"[{name = "ask", kind = "words", on = "input", action = "hold", words = ["hold this prompt"]}]"#;
    let settings = [("LIMITS__MAX_NEW_TOKENS", "8"), ("LIMITS__DEFAULT_NEW_TOKENS", "2"), ("GUARD__CHECKS", checks)];
    let (server, revision) = rollout::with(rollout::other_seed, &settings).await;
    let held: Value = server.post("/generate", &json!({"inputs": "hold this prompt"})).await.json().await.unwrap();
    let review = held["review_id"].as_str().unwrap().to_owned();
    let (document, requests) = (document(), setting("TUREEN_RANDOM_REQUESTS", 60));
    let random = StdRng::seed_from_u64(setting("TUREEN_RANDOM_SEED", 1));
    let mut maker = Maker { document: &document, review, revision, random };
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    let operations = operations(&document);
    for _ in 0..requests {
        for operation in &operations {
            let (path, headers) = (maker.path(operation), maker.headers(operation));
            let mut request = server.http.request(operation.method.clone(), server.url(&path));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let body = operation.body(&document).map(|schema| maker.body(schema));
            if let Some(body) = &body {
                let kind = if maker.one_in(30) { "text/plain" } else { "application/json" };
                request = request.header("content-type", kind).body(body.clone());
            }
            let response = request.send().await.unwrap();
            let (status, kind) = (response.status().as_u16(), response.headers().get("content-type").cloned());
            let answer = response.text().await.unwrap();
            seen.insert((operation.method.to_string(), operation.path.clone(), status));
            // Of the 5xx, none but the documented 503 is ever for what was sent, and this server has room.
            if !operation.tells(status) || status >= 500 || answer.contains("event: error") {
                let sent = body.map(|body| String::from_utf8_lossy(&body).chars().take(300).collect::<String>());
                let answer: String = answer.chars().take(400).collect();
                wrong.push(format!("{} {path} {sent:?}: {status} {answer}", operation.method));
            }
            if status >= 400 {
                let problem = kind.is_some_and(|kind| kind.to_str().unwrap().contains("json"));
                assert!(problem && serde_json::from_str::<Value>(&answer).is_ok(), "{path}: {status} {answer}");
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them, first:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    // What was made is not all nonsense: each route was also used.
    for Operation { method, path, .. } in &operations {
        let used = (200..300).any(|status| seen.contains(&(method.to_string(), path.clone(), status)));
        assert!(used, "{method} {path} was never answered with 2xx");
    }
    assert_eq!(server.metric("tureen_step_panics_total").await, Some(0.0));
    server.generate(&crate::common::short(json!({"concise": 1}))).await;
}
