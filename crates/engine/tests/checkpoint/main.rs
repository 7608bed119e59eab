//! Opening a base: GGUF files and Hugging Face directories, tokenizers and chat templates; whole, and broken.

// The helpers may fail as loudly as the tests they serve.
#![allow(clippy::unwrap_used)]

mod chat_golden;
mod chat_template;
mod corrupt_directory;
mod corrupt_gguf;
mod detokenizer;
mod pool;
mod quantised;
mod real;
mod sentencepiece;
mod support;
mod tokenizer_golden;
mod written;
