//! Chat templates: a conversation to the text that the model was tuned on.
//!
//! The template comes from the model alone, never from a request, and still runs with fuel and a bounded output: a broken
//! one ends with an error. (What fuel does not see: minijinja 3.1 adds lists lazily, so a template that keeps adding a list
//! to itself grows without being charged. Such a model is as malicious as one with bad weights.) Set-up as in transformers (`trim_blocks`, `lstrip_blocks`, loop controls, Python's methods).

mod clock;
mod generation;
mod python;

use std::fmt;
use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;

const NAME: &str = "chat";
/// Work of one rendering: about one for an instruction and one for 64 bytes that are made, so at most 64 MiB. Some 20
/// instructions per message are usual.
const FUEL: u64 = 1_000_000;
/// Longest template accepted, in bytes; known ones have some 10 KiB.
const MAX_SOURCE: usize = 1 << 20;
/// Longest output beyond the conversation's own bytes.
const MAX_ADDED: usize = 1 << 20;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Why a template or a rendering was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template does not compile or is too long.
    #[error("the template is broken: {0}")]
    Template(String),
    /// The template itself refused the conversation (`raise_exception`).
    #[error("the template refuses this conversation: {0}")]
    Refused(String),
    /// The rendering took too many steps or became too long.
    #[error("the template ran away")]
    Runaway,
    /// The rendering failed.
    #[error("the template failed: {0}")]
    Failed(String),
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// `bos`, `eos`: the tokens' text, which templates use as `bos_token` and `eos_token`.
    pub(crate) fn new(source: &str, bos: Option<String>, eos: Option<String>) -> Result<Self, ChatError> {
        if source.len() > MAX_SOURCE {
            return Err(ChatError::Template(format!("{} bytes, at most {MAX_SOURCE} are accepted", source.len())));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| ChatError::Template(error.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", python::raise_exception);
        environment.add_function("strftime_now", python::strftime_now);
        environment.add_filter("tojson", python::to_json);
        environment
            .add_template_owned(NAME, generation::replace(source))
            .map_err(|error| ChatError::Template(error.to_string()))?;
        let (bos, eos) = (bos.unwrap_or_default(), eos.unwrap_or_default());
        Ok(Self { environment, source: source.to_owned(), bos, eos })
    }

    /// The text of `messages`, ready for the assistant's answer if `add_generation_prompt`.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template says so, [`ChatError::Runaway`] over the limits, [`ChatError::Failed`] else.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        let given: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let mut output = Bounded { bytes: Vec::new(), limit: given.saturating_add(MAX_ADDED) };
        let messages: Vec<Value> =
            messages.iter().map(|Message { role, content }| context! { role, content }).collect();
        // Templates tell "none given" from "unknown": transformers always passes these two.
        let (tools, documents) = (Value::from(()), Value::from(()));
        let context = context! { messages, tools, documents, add_generation_prompt, bos_token => &self.bos, eos_token => &self.eos };
        let template = self.environment.get_template(NAME).map_err(|error| ChatError::Template(error.to_string()))?;
        template.render_captured_to(context, &mut output).map_err(classify)?;
        String::from_utf8(output.bytes).map_err(|error| ChatError::Failed(error.to_string()))
    }

    /// The template as the model carries it.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

fn classify(error: Error) -> ChatError {
    match error.kind() {
        ErrorKind::OutOfFuel | ErrorKind::WriteFailure => ChatError::Runaway,
        _ => match refusal(&error) {
            Some(reason) => ChatError::Refused(reason.to_owned()),
            None => ChatError::Failed(error.to_string()),
        },
    }
}

fn refusal(error: &Error) -> Option<&str> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(python::Raised(reason)) = error.downcast_ref() {
            return Some(reason);
        }
        source = error.source();
    }
    None
}

/// Output that refuses to grow over a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::Error::other("the output is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
