//! What a judge is asked, and how its answer is read.

use serde_json::{Value, json};

use super::super::{Choice, Comparison};

const TASK: &str = "You compare two answers to one request. The better answer is the one that fits this wish more: ";
const RULES: &str = "An answer that is empty, broken, or about something else loses to one that deals with the request. Neither \
                     the order of the answers nor their length counts by itself. Reply with one word: A, B, or tie when they \
                     fit the wish equally well.";

/// The body of a chat completion request.
pub(super) fn body(model: &str, criterion: &str, shown: Comparison<'_>) -> Value {
    let turns: Vec<String> = shown.prompt.iter().map(|turn| format!("[{}] {}", turn.role, turn.content)).collect();
    let request = if turns.len() == 1 { shown.question().to_owned() } else { turns.join("\n") };
    let [first, second] = shown.answers;
    json!({
        "model": model,
        "temperature": 0,
        "max_tokens": 8,
        "messages": [
            {"role": "system", "content": format!("{TASK}{criterion}\n\n{RULES}")},
            {"role": "user", "content": format!("Request:\n{request}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}")},
        ],
    })
}

/// The choice between the answers as they were shown, from the first word that is one.
pub(super) fn choice(reply: &str) -> Option<Choice> {
    let words = reply.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).find_map(|word| match word.as_str() {
        "a" => Some(Choice::First),
        "b" => Some(Choice::Second),
        "tie" => Some(Choice::Tie),
        _ => None,
    })
}
