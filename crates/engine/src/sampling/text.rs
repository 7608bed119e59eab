//! Text of one answer as it becomes certain: no split characters, nothing of a stop sequence.

use crate::tokenizer::Detokenizer;

/// Bytes of text that hardly ever wait.
const BUFFER: usize = 256;

/// Turns tokens into text and watches for stop sequences.
pub(crate) struct TextStream {
    detokenizer: Detokenizer,
    stops: Vec<String>,
    /// Decoded, but it may be the beginning of a stop sequence.
    held: String,
}

impl TextStream {
    pub(crate) fn new(detokenizer: Detokenizer, stops: Vec<String>) -> Self {
        Self { detokenizer, stops, held: String::with_capacity(BUFFER) }
    }

    /// Takes a token; appends the text that is certain now, and tells whether a stop sequence ended the answer.
    pub(crate) fn push(&mut self, id: u32, text: &mut String) -> bool {
        self.detokenizer.push_to(id, &mut self.held);
        self.release(text)
    }

    /// Appends what was held back, when no token follows; tells whether a stop sequence was in it.
    pub(crate) fn finish(&mut self, text: &mut String) -> bool {
        self.detokenizer.finish_to(&mut self.held);
        let stopped = self.release(text);
        if !stopped {
            text.push_str(&self.held);
            self.held.clear();
        }
        stopped
    }

    fn release(&mut self, text: &mut String) -> bool {
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            text.push_str(&self.held[..at]);
            self.held.clear();
            return true;
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let certain = self.held.len() - keep;
        text.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }
}

/// Watches for stop sequences alone: the scheduler's, beside the stream that makes the text for the answer's owner. Both see
/// the same tokens.
pub(crate) struct StopWatch {
    stream: TextStream,
    /// What the owner has by now, forgotten at once.
    certain: String,
}

impl StopWatch {
    /// `None` when text alone cannot end the answer.
    pub(crate) fn new(stream: TextStream) -> Option<Self> {
        (!stream.stops.is_empty()).then(|| Self { stream, certain: String::with_capacity(BUFFER) })
    }

    /// Whether the answer ends with this token.
    pub(crate) fn push(&mut self, id: u32) -> bool {
        self.certain.clear();
        self.stream.push(id, &mut self.certain)
    }

    /// Whether a stop sequence was in what was held back.
    pub(crate) fn finish(&mut self) -> bool {
        self.certain.clear();
        self.stream.finish(&mut self.certain)
    }
}

/// Length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    let fits = |len: &usize| stop.is_char_boundary(*len) && text.ends_with(&stop[..*len]);
    (1..=longest).rev().find(fits).unwrap_or(0)
}
