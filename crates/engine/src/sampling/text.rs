//! Text of one answer as it becomes certain: no split characters, nothing of a stop sequence.

use crate::tokenizer::Detokenizer;

/// Turns tokens into text and watches for stop sequences.
pub(crate) struct TextStream {
    detokenizer: Detokenizer,
    stops: Vec<String>,
    /// Decoded, but it may be the beginning of a stop sequence.
    held: String,
}

impl TextStream {
    pub(crate) fn new(detokenizer: Detokenizer, stops: Vec<String>) -> Self {
        Self { detokenizer, stops, held: String::new() }
    }

    /// Takes a token; gives the text that is certain now, and whether a stop sequence ended the answer.
    pub(crate) fn push(&mut self, id: u32) -> (String, bool) {
        let text = self.detokenizer.push(id);
        self.take(&text)
    }

    /// What was held back, when no token follows.
    pub(crate) fn finish(&mut self) -> (String, bool) {
        let text = self.detokenizer.finish();
        let (mut text, stopped) = self.take(&text);
        if !stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        (text, stopped)
    }

    fn take(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let mut before = std::mem::take(&mut self.held);
            before.truncate(at);
            return (before, true);
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// Length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    let fits = |len: &usize| stop.is_char_boundary(*len) && text.ends_with(&stop[..*len]);
    (1..=longest).rev().find(fits).unwrap_or(0)
}
