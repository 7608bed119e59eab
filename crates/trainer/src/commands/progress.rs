//! How far a command is, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `all` of `what`, with a message behind it.
pub(super) fn bar(all: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left  {{msg}}"));
    ProgressBar::new(all).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
