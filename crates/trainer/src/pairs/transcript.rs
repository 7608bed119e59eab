//! Transcripts of two speakers in one text, as hh-rlhf writes them.

use tureen_engine::Message;

const SPEAKERS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];

/// The turns of a transcript that begins with the human's, or none for any other text.
pub(super) fn turns(text: &str) -> Option<Vec<Message>> {
    let mut rest = text.strip_prefix(SPEAKERS[0].0)?;
    let mut role = SPEAKERS[0].1;
    let mut turns = Vec::new();
    loop {
        let next = SPEAKERS.iter().filter_map(|(mark, role)| Some((rest.find(mark)?, mark, role))).min();
        let end = next.map_or(rest.len(), |(at, _, _)| at);
        turns.push(Message { role: role.to_owned(), content: rest[..end].trim().to_owned() });
        let Some((at, mark, speaker)) = next else { return Some(turns) };
        (rest, role) = (&rest[at + mark.len()..], speaker);
    }
}
