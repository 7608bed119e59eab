//! Pair files as others write them.

use tureen_engine::Message;

use super::{Pair, transcript};
use crate::error::TrainError;
use crate::records::Record;

/// The pair in a record, by the fields it has.
pub(super) fn pair(record: &Record) -> Result<Pair, TrainError> {
    if record.has("completion_a") || record.has("user_input") {
        return Ok(Pair {
            prompt: record.conversation("user_input", "user")?,
            chosen: record.text("completion_a")?.to_owned(),
            rejected: record.text("completion_b")?.to_owned(),
        });
    }
    match (record.has("prompt"), record.is_list("chosen")) {
        (true, _) => Ok(Pair {
            prompt: record.conversation("prompt", "user")?,
            chosen: answer(record, "chosen")?,
            rejected: answer(record, "rejected")?,
        }),
        (false, true) => implicit_turns(record),
        (false, false) => implicit_text(record),
    }
}

/// One answer: a text, or the one turn of the assistant.
fn answer(record: &Record, field: &str) -> Result<String, TrainError> {
    let mut turns = record.conversation(field, "assistant")?;
    match (turns.len(), turns.pop()) {
        (1, Some(Message { role, content })) if role == "assistant" => Ok(content),
        _ => Err(record.broken(field, "is not one turn of the assistant")),
    }
}

/// Two conversations that differ in their last turn.
fn implicit_turns(record: &Record) -> Result<Pair, TrainError> {
    let chosen = record.conversation("chosen", "assistant")?;
    let rejected = record.conversation("rejected", "assistant")?;
    let (prompt, chosen) = split(record, "chosen", chosen)?;
    let (other, rejected) = split(record, "rejected", rejected)?;
    if prompt != other {
        return Err(record.broken("rejected", "answers another prompt than \"chosen\""));
    }
    Ok(Pair { prompt, chosen, rejected })
}

fn split(record: &Record, field: &str, mut turns: Vec<Message>) -> Result<(Vec<Message>, String), TrainError> {
    match turns.pop() {
        Some(last) if last.role == "assistant" && !turns.is_empty() => Ok((turns, last.content)),
        _ => Err(record.broken(field, "does not end with a prompt and a turn of the assistant")),
    }
}

/// Two texts that begin with the prompt: transcripts of two speakers, or whatever they share (as TRL takes it).
fn implicit_text(record: &Record) -> Result<Pair, TrainError> {
    let (chosen, rejected) = (record.text("chosen")?, record.text("rejected")?);
    if let (Some(chosen), Some(rejected)) = (transcript::turns(chosen), transcript::turns(rejected)) {
        let (prompt, chosen) = split(record, "chosen", chosen)?;
        let (other, rejected) = split(record, "rejected", rejected)?;
        if prompt != other {
            return Err(record.broken("rejected", "answers another prompt than \"chosen\""));
        }
        return Ok(Pair { prompt, chosen, rejected });
    }
    let both = chosen.char_indices().zip(rejected.chars());
    let shared = both.take_while(|((_, a), b)| a == b).last().map_or(0, |((at, c), _)| at + c.len_utf8());
    let prompt = chosen[..shared].trim();
    if prompt.is_empty() {
        return Err(record.broken("prompt", "is missing, and \"chosen\" and \"rejected\" begin differently"));
    }
    let prompt = vec![Message { role: "user".into(), content: prompt.to_owned() }];
    let rest = |text: &str| text[shared..].trim().to_owned();
    Ok(Pair { prompt, chosen: rest(chosen), rejected: rest(rejected) })
}
