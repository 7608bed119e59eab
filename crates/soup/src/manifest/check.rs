//! Everything that can be wrong with a manifest before a policy's file is opened.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::raw::{FORMAT, Kind, RawDimension, RawPolicy};
use super::{ADAPTER_CONFIG, ADAPTER_MODEL, FILE};
use crate::hash::is_sha256;
use crate::problem::Problems;
use crate::{BaseIdentity, Dimension, PolicyId, limits};

/// A manifest without problems of its own.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) base: BaseIdentity,
    pub(crate) dimensions: Vec<Dimension>,
    /// Sorted by id.
    pub(crate) policies: Vec<(PolicyId, RawPolicy)>,
}

impl Manifest {
    /// Understands `text`. Adds every problem it finds; what has one is left out of the answer, which is `None` when
    /// nothing can be said at all.
    pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Self> {
        let mut table: Table = match text.parse() {
            Ok(table) => table,
            Err(e) => {
                problems.add(FILE, syntax(&e, text));
                return None;
            }
        };
        match table.remove("format") {
            Some(Value::Integer(FORMAT)) => {}
            Some(other) => problems.add(FILE, format_args!("format {other} is not known: this build reads {FORMAT}")),
            None => problems.add(FILE, format_args!("`format = {FORMAT}` is missing")),
        }
        let base = table.remove("base").and_then(|value| part(value, "[base]", problems));
        let dimensions: Vec<RawDimension> = list(&mut table, "dimension", problems);
        let policies: Vec<RawPolicy> = list(&mut table, "policy", problems);
        for key in table.keys() {
            problems.add(FILE, format_args!("unknown key {key:?}"));
        }
        let Some(base) = base else {
            problems.add(FILE, "[base] is missing or cannot be read");
            return None;
        };
        check_base(&base, problems);
        if policies.len() > limits::POLICIES {
            problems.add(FILE, format_args!("{} policies, {} are allowed", policies.len(), limits::POLICIES));
            return None;
        }
        let policies = check_policies(policies, problems);
        let dimensions = check_dimensions(dimensions, &policies, problems);
        Some(Self { base, dimensions, policies })
    }
}

fn syntax(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
    format!("line {line}: {}", error.message())
}

fn part<T: DeserializeOwned>(value: Value, place: &str, problems: &mut Problems) -> Option<T> {
    value.try_into().map_err(|e: toml::de::Error| problems.add(format_args!("{FILE} {place}"), e.message())).ok()
}

fn list<T: DeserializeOwned>(table: &mut Table, key: &str, problems: &mut Problems) -> Vec<T> {
    match table.remove(key) {
        None => Vec::new(),
        Some(Value::Array(values)) => {
            let name = |value: &Value| value.get("id").and_then(Value::as_str).map(|id| format!(" {id:?}"));
            let read = |(i, value): (usize, Value)| {
                let place = format!("[[{key}]] {}{}", i + 1, name(&value).unwrap_or_default());
                part(value, &place, problems)
            };
            values.into_iter().enumerate().filter_map(read).collect()
        }
        Some(_) => {
            problems.add(FILE, format_args!("{key:?} must be written as [[{key}]]"));
            Vec::new()
        }
    }
}

fn check_base(base: &BaseIdentity, problems: &mut Problems) {
    if base.name.trim().is_empty() {
        problems.add(FILE, "[base] name is empty");
    }
    for (key, value) in [("sha256", &base.sha256), ("vocabulary_sha256", &base.vocabulary_sha256)] {
        if !is_sha256(value) {
            problems.add(FILE, format_args!("[base] {key} is not 64 lower-case hex digits"));
        }
    }
}

fn check_policies(raw: Vec<RawPolicy>, problems: &mut Problems) -> Vec<(PolicyId, RawPolicy)> {
    let (mut ids, mut dirs) = (BTreeSet::new(), BTreeSet::new());
    let mut policies = Vec::new();
    for policy in raw {
        let before = problems.len();
        let place = format!("policy {:?}", policy.id);
        let id = PolicyId::parse(&policy.id);
        if id.is_none() {
            problems.add(&place, "an id is a-z or 0-9, then up to 63 of a-z 0-9 _ -");
        }
        if !ids.insert(policy.id.clone()) {
            problems.add(&place, "the id is there twice");
        }
        if !dirs.insert(policy.dir.clone()) {
            problems.add(&place, format_args!("another policy has dir {:?} too", policy.dir));
        }
        if !is_component(&policy.dir) {
            problems.add(&place, format_args!("dir {:?} is not the name of one folder in the pool", policy.dir));
        }
        let texts = [("code", &policy.code), ("instruction", &policy.instruction), ("license", &policy.license)];
        for (key, _) in texts.iter().filter(|(_, text)| text.trim().is_empty()) {
            problems.add(&place, format_args!("{key} is empty"));
        }
        check_files(&policy, &place, problems);
        if let (Some(id), true) = (id, problems.len() == before) {
            policies.push((id, policy));
        }
    }
    policies.sort_by(|(a, _), (b, _)| a.cmp(b));
    policies
}

fn check_files(policy: &RawPolicy, place: &str, problems: &mut Problems) {
    for (name, hash) in &policy.files {
        let known = match policy.kind {
            Kind::Lora => name == ADAPTER_CONFIG || name == ADAPTER_MODEL,
            Kind::Full => is_component(name) && name.ends_with(".safetensors"),
        };
        if !known {
            problems.add(place, format_args!("file {name:?} is none that a policy of this kind is read from"));
        }
        if !is_sha256(hash) {
            problems.add(place, format_args!("the sha256 of {name:?} is not 64 lower-case hex digits"));
        }
    }
    let required: &[&str] = match policy.kind {
        Kind::Lora => &[ADAPTER_CONFIG, ADAPTER_MODEL],
        Kind::Full => &[],
    };
    for name in required.iter().filter(|name| !policy.files.contains_key(**name)) {
        problems.add(place, format_args!("[policy.files] lacks {name:?}"));
    }
    if policy.files.is_empty() && policy.kind == Kind::Full {
        problems.add(place, "[policy.files] names no *.safetensors file");
    }
}

/// A name that cannot lead anywhere else.
fn is_component(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain)
}

fn check_dimensions(
    raw: Vec<RawDimension>,
    policies: &[(PolicyId, RawPolicy)],
    problems: &mut Problems,
) -> Vec<Dimension> {
    let mut dimensions: Vec<Dimension> = Vec::new();
    for dimension in raw {
        let place = format!("dimension {:?}", dimension.id);
        if PolicyId::parse(&dimension.id).is_none() {
            problems.add(&place, "an id is a-z or 0-9, then up to 63 of a-z 0-9 _ -");
        }
        if dimensions.iter().any(|d| d.id == dimension.id) {
            problems.add(&place, "the id is there twice");
        }
        let mut poles = Vec::new();
        for pole in dimension.poles {
            match policies.iter().find(|(id, _)| id.as_ref() == pole) {
                None => problems.add(&place, format_args!("pole {pole:?} is no (sound) policy of this pool")),
                Some((_, policy)) if policy.dimension != dimension.id => {
                    problems.add(&place, format_args!("pole {pole:?} says its dimension is {:?}", policy.dimension));
                }
                Some((id, _)) if poles.contains(id) => {
                    problems.add(&place, format_args!("pole {pole:?} is there twice"));
                }
                Some((id, _)) => poles.push(id.clone()),
            }
        }
        dimensions.push(Dimension { id: dimension.id, poles });
    }
    for (id, policy) in policies {
        let place = format!("policy {:?}", id.as_ref());
        match dimensions.iter().find(|d| d.id == policy.dimension) {
            None => problems.add(&place, format_args!("dimension {:?} is not in the manifest", policy.dimension)),
            Some(d) if !d.poles.contains(id) => {
                problems.add(&place, format_args!("is not a pole of its dimension {:?}", policy.dimension));
            }
            Some(_) => {}
        }
    }
    dimensions
}
