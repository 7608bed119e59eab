//! Preference pairs: a prompt with a better and a worse answer.

mod formats;
mod transcript;

use std::path::Path;

use serde_json::json;
use tureen_engine::Message;

use crate::error::TrainError;
use crate::records;
use crate::state::write_atomically;

/// Two answers to one prompt, one of them preferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The preferred answer.
    pub chosen: String,
    /// The other one.
    pub rejected: String,
}

/// Reads pairs: TRL's four shapes (standard or conversational, the prompt explicit or shared by both answers), and the
/// method's own (`user_input`, `completion_a` preferred over `completion_b`). Pairs of equal answers are left out.
///
/// # Errors
/// A file that cannot be read, or a record that is no pair; file, line and field are named.
pub fn read(path: &Path) -> Result<Vec<Pair>, TrainError> {
    let pairs: Result<Vec<Pair>, _> = records::read(path)?.iter().map(formats::pair).collect();
    let mut pairs = pairs?;
    let all = pairs.len();
    pairs.retain(|pair| pair.chosen != pair.rejected);
    if pairs.len() < all {
        tracing::warn!(file = %path.display(), count = all - pairs.len(), "left out pairs of equal answers");
    }
    Ok(pairs)
}

/// Writes pairs one a line: TRL's standard shape for a prompt of one turn, the conversational one for others.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, pairs: &[Pair]) -> Result<(), TrainError> {
    let lines: Vec<String> = pairs.iter().map(line).collect();
    write_atomically(path, lines.concat().as_bytes())
}

fn line(pair: &Pair) -> String {
    let Pair { prompt, chosen, rejected } = pair;
    let value = match prompt.as_slice() {
        [Message { role, content }] if role == "user" => {
            json!({"prompt": content, "chosen": chosen, "rejected": rejected})
        }
        turns => {
            let answer = |content: &str| json!([{"role": "assistant", "content": content}]);
            json!({"prompt": turns, "chosen": answer(chosen), "rejected": answer(rejected)})
        }
    };
    format!("{value}\n")
}
