//! Prompt sets as others write them.

use tureen_engine::Message;

use crate::error::TrainError;
use crate::records::Record;

/// The conversation that a record asks to be answered, by the fields it has:
///
/// | field | format |
/// |---|---|
/// | `messages` | chat: the turns, without those of the assistant at the end |
/// | `prompt` | a text, or turns |
/// | `instruction` | alpaca: with a blank line and `input`, where that is not empty |
pub(super) fn conversation(record: &Record) -> Result<Vec<Message>, TrainError> {
    let (field, turns) = if record.has("messages") {
        ("messages", record.conversation("messages", "user")?)
    } else if record.has("prompt") || !record.has("instruction") {
        ("prompt", record.conversation("prompt", "user")?)
    } else {
        ("instruction", vec![alpaca(record)?])
    };
    let asked = turns.iter().rposition(|turn| turn.role != "assistant").map_or(0, |last| last + 1);
    let turns = turns[..asked].to_vec();
    match turns.last() {
        Some(last) if last.role == "user" => Ok(turns),
        _ => Err(record.broken(field, "has no last turn of a user")),
    }
}

fn alpaca(record: &Record) -> Result<Message, TrainError> {
    let instruction = record.text("instruction")?;
    // Alpaca writes an empty input where there is none.
    let input = if record.is_blank("input") { String::new() } else { format!("\n\n{}", record.text("input")?) };
    Ok(Message { role: "user".into(), content: format!("{instruction}{input}") })
}
