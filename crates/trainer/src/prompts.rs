//! Prompts: the built-in sets and files of the user's own.

use std::path::Path;

use serde::Deserialize;
use tureen_engine::{Checkpoint, Message};

use crate::error::TrainError;

/// Written for this project; one prompt a line.
const TRAIN: &str = include_str!("../data/train.txt");
const HELDOUT: &str = include_str!("../data/heldout.txt");

/// A prompt and the tokens of its chat up to the assistant's turn.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What the user says.
    pub text: String,
    /// The rendered chat, tokenised.
    pub tokens: Vec<u32>,
}

/// Which built-in set stands in where no file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To look at.
    Heldout,
}

#[derive(Deserialize)]
struct Line {
    prompt: String,
}

/// Reads the prompts of `file`, or the built-in ones of `split`.
///
/// # Errors
/// A file that cannot be read, or a line that is no JSON object with a `prompt` (file and line are named).
pub fn read(file: Option<&Path>, split: Split) -> Result<Vec<String>, TrainError> {
    let Some(path) = file else {
        let text = if split == Split::Train { TRAIN } else { HELDOUT };
        return Ok(text.lines().map(str::to_owned).collect());
    };
    let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
    let json = path.extension().is_some_and(|extension| extension == "jsonl");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            if !json {
                return Ok(line.trim().to_owned());
            }
            let parsed: Result<Line, _> = serde_json::from_str(line);
            parsed
                .map(|line| line.prompt)
                .map_err(|error| TrainError::Invalid(format!("{}:{}: {error}", path.display(), index + 1)))
        })
        .collect()
}

/// Tokenises prompts as one-turn chats of `checkpoint` and leaves out those over `longest` tokens (of the prompt itself).
///
/// # Errors
/// A checkpoint without chat template, or no prompt left.
pub fn prepare(checkpoint: &Checkpoint, texts: Vec<String>, longest: usize) -> Result<Vec<Prompt>, TrainError> {
    let template = checkpoint.chat_template().ok_or_else(|| TrainError::Base("it has no chat template".into()))?;
    let base = |error: &dyn std::fmt::Display| TrainError::Base(error.to_string());
    let mut prompts = Vec::new();
    for text in texts {
        let own = checkpoint.tokenizer().encode(&text, false).map_err(|error| base(&error))?;
        if own.len() > longest {
            continue;
        }
        let message = Message { role: "user".into(), content: text.clone() };
        let chat = template.render(&[message], true).map_err(|error| base(&error))?;
        let tokens = checkpoint.tokenizer().encode(&chat, false).map_err(|error| base(&error))?;
        prompts.push(Prompt { text, tokens });
    }
    if prompts.is_empty() {
        return Err(TrainError::Invalid(format!("no prompt of at most {longest} tokens")));
    }
    Ok(prompts)
}

/// How many first tokens all of `prompts` share, leaving each at least one of its own.
pub fn shared_prefix(prompts: &[Vec<u32>]) -> usize {
    let Some(first) = prompts.first() else { return 0 };
    let shared = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let longest = prompts.iter().map(|prompt| prompt.len().saturating_sub(1)).min().unwrap_or(0);
    prompts.iter().map(shared).min().unwrap_or(0).min(longest)
}
