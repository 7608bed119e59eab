//! Conversations in a column: JSON of roles and contents, whatever a message is elsewhere.

use serde_json::json;
use tureen_engine::Message;

use super::StoreError;

pub(super) fn write(turns: &[Message]) -> String {
    json!(turns.iter().map(|Message { role, content }| [role, content]).collect::<Vec<_>>()).to_string()
}

pub(super) fn read(text: &str) -> Result<Vec<Message>, StoreError> {
    let turns: Vec<(String, String)> =
        serde_json::from_str(text).map_err(|_| StoreError::Row("a conversation is none".into()))?;
    Ok(turns.into_iter().map(|(role, content)| Message { role, content }).collect())
}
