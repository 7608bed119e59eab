//! Verdicts so far, one JSON line each.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Choice;
use crate::error::TrainError;
use crate::state::write_atomically;

#[derive(Deserialize, Serialize)]
struct Line {
    key: String,
    choice: Choice,
}

/// The verdicts of one annotator. The first line of the file is its identity.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    verdicts: HashMap<String, Choice>,
}

impl Log {
    /// Opens the log at `path`, or begins one. A last line that a crash cut off is dropped.
    pub(super) fn open(path: &Path, identity: &str) -> Result<Self, TrainError> {
        let mut verdicts = HashMap::new();
        let head = serde_json::json!({"annotator": identity}).to_string();
        let mut whole = format!("{head}\n");
        if path.exists() {
            let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
            let mut lines = text.lines();
            if lines.next() != Some(&head) {
                let message = "holds the verdicts of another annotator; name another file or remove it";
                return Err(TrainError::Invalid(format!("{}: {message}", path.display())));
            }
            for line in lines.map_while(|line| serde_json::from_str::<Line>(line).ok().map(|parsed| (line, parsed))) {
                whole += &format!("{}\n", line.0);
                verdicts.insert(line.1.key, line.1.choice);
            }
        }
        write_atomically(path, whole.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(TrainError::io(path))?;
        Ok(Self { path: path.to_owned(), file, verdicts })
    }

    pub(super) fn get(&self, key: &str) -> Option<Choice> {
        self.verdicts.get(key).copied()
    }

    pub(super) fn append(&mut self, key: String, choice: Choice) -> Result<(), TrainError> {
        let line = serde_json::to_string(&Line { key, choice }).map_err(|e| TrainError::Invalid(e.to_string()))?;
        // One write, so that a crash leaves a line whole or the last one short.
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(TrainError::io(&self.path))
    }
}
