//! Prompts: the built-in sets and files of the user's own.

mod formats;

use std::path::Path;

use tureen_engine::{Checkpoint, Message};

use crate::error::TrainError;
use crate::records;

/// Written for this project; one prompt a line.
const TRAIN: &str = include_str!("../../data/train.txt");
const HELDOUT: &str = include_str!("../../data/heldout.txt");

/// A prompt and the tokens of its chat up to the assistant's turn.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The conversation.
    pub turns: Vec<Message>,
    /// What the user says last.
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

/// Reads the conversations of `file`, or the built-in ones of `split`. A file holds one prompt a line (`.txt`), or records
/// (`.jsonl` one a line, `.json` an array) with a `prompt`, with `messages`, or alpaca's `instruction` and `input`.
///
/// # Errors
/// A file that cannot be read, or a record without a prompt (file, line and field are named).
pub fn read(file: Option<&Path>, split: Split) -> Result<Vec<Vec<Message>>, TrainError> {
    let Some(path) = file else {
        return Ok(lines(if split == Split::Train { TRAIN } else { HELDOUT }));
    };
    if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl") {
        return records::read(path)?.iter().map(formats::conversation).collect();
    }
    Ok(lines(&std::fs::read_to_string(path).map_err(TrainError::io(path))?))
}

fn lines(text: &str) -> Vec<Vec<Message>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| vec![Message { role: "user".into(), content: line.to_owned() }]).collect()
}

/// Leaves out conversations whose turns have over `longest` tokens (without the chat template's own).
///
/// # Errors
/// Text that cannot be tokenised, or no prompt left.
pub fn short(
    checkpoint: &Checkpoint,
    conversations: Vec<Vec<Message>>,
    longest: usize,
) -> Result<Vec<Vec<Message>>, TrainError> {
    let mut kept = Vec::with_capacity(conversations.len());
    for turns in conversations {
        let mut own = 0;
        for turn in &turns {
            let tokens = checkpoint.tokenizer().encode(&turn.content, false);
            own += tokens.map_err(|error| TrainError::Base(error.to_string()))?.len();
        }
        if own <= longest {
            kept.push(turns);
        }
    }
    if kept.is_empty() {
        return Err(TrainError::Invalid(format!("no prompt of at most {longest} tokens")));
    }
    Ok(kept)
}

/// Tokenises conversations with the chat template of `checkpoint` and leaves out those over `longest` ([`short`]).
///
/// # Errors
/// A checkpoint without chat template, or no prompt left.
pub fn prepare(
    checkpoint: &Checkpoint,
    conversations: Vec<Vec<Message>>,
    longest: usize,
) -> Result<Vec<Prompt>, TrainError> {
    let prompt = |turns: Vec<Message>| {
        let text = turns.last().map(|turn| turn.content.clone()).unwrap_or_default();
        Ok(Prompt { text, tokens: chat_tokens(checkpoint, &turns)?, turns })
    };
    short(checkpoint, conversations, longest)?.into_iter().map(prompt).collect()
}

/// A conversation with instructions after its last turn: how a preference is asked for in words.
pub fn instructed(turns: &[Message], instructions: &[&str]) -> Vec<Message> {
    let mut turns = turns.to_vec();
    if let Some(last) = turns.last_mut() {
        instructions.iter().for_each(|instruction| last.content = format!("{}\n\n{instruction}", last.content));
    }
    turns
}

/// The tokens of a conversation's chat up to the assistant's turn.
///
/// # Errors
/// A checkpoint without chat template, or one whose template refuses the conversation.
pub fn chat_tokens(checkpoint: &Checkpoint, turns: &[Message]) -> Result<Vec<u32>, TrainError> {
    let base = |error: &dyn std::fmt::Display| TrainError::Base(error.to_string());
    let template = checkpoint.chat_template().ok_or_else(|| TrainError::Base("it has no chat template".into()))?;
    let chat = template.render(turns, true).map_err(|error| base(&error))?;
    checkpoint.tokenizer().encode(&chat, false).map_err(|error| base(&error))
}

/// How many first tokens all of `prompts` share, leaving each at least one of its own.
pub fn shared_prefix(prompts: &[Vec<u32>]) -> usize {
    let Some(first) = prompts.first() else { return 0 };
    let shared = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let longest = prompts.iter().map(|prompt| prompt.len().saturating_sub(1)).min().unwrap_or(0);
    prompts.iter().map(shared).min().unwrap_or(0).min(longest)
}
