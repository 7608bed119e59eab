//! The checks of a request's messages.

use std::sync::Arc;

use tureen_engine::Message;

use super::chain::{Action, Kind, Side};
use super::flow::{Decision, Flow, Unavailable};
use crate::app::App;
use crate::config::Config;
use crate::live::late;
use crate::problem::ApiError;

/// Bytes that are checked before others get a turn: a prompt may be a megabyte.
const PIECE: usize = 16 << 10;

/// What came of the checks.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// What they decided.
    pub(crate) decisions: Vec<Decision>,
    /// The checks that want a person to decide.
    pub(crate) held: Vec<Arc<str>>,
    /// Whether one of them looks at the soup.
    pub(super) soup_held: bool,
}

/// Checks how far the soup moves from the base, then `messages`, each by itself, and redacts them. What was decided is
/// told even when the request is refused.
///
/// # Errors
/// 422 `blocked_input`, 503 when a check cannot be made, and 504 when they take too long.
pub(crate) async fn check_input(app: &App, drift: f64, messages: &mut [Message]) -> (Checked, Result<(), ApiError>) {
    let mut all = Checked::default();
    if !app.config.guard.chain.covers(Side::Input) {
        return (all, Ok(()));
    }
    let checks = all.check(&app.config, drift, messages);
    let checked = tokio::time::timeout(app.config.server.request_timeout, checks).await;
    app.metrics.guarded(&all.decisions);
    (all, checked.unwrap_or_else(|_| Err(late())))
}

async fn checked(flow: &mut Flow, mut text: &str) -> Result<String, Unavailable> {
    let mut out = String::new();
    while text.len() > PIECE && flow.blocked().is_none() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        out.push_str(&flow.push(piece).await?);
        text = rest;
        tokio::task::yield_now().await;
    }
    out.push_str(&flow.finish(text).await?);
    Ok(out)
}

impl Checked {
    async fn check(&mut self, config: &Config, drift: f64, messages: &mut [Message]) -> Result<(), ApiError> {
        self.check_drift(config, drift)?;
        let count = messages.len();
        for (i, message) in messages.iter_mut().enumerate() {
            let mut flow = Flow::new(&config.guard.chain, Side::Input);
            let text = checked(&mut flow, &message.content).await;
            self.add(&flow);
            let text = text.map_err(|Unavailable(check)| unavailable(&check, config.limits.retry_after_s))?;
            if let Some(check) = flow.blocked() {
                let field = if count == 1 { "inputs".to_owned() } else { format!("messages[{i}].content") };
                return Err(blocked(check, &field));
            }
            if flow.changed() {
                message.content = text;
            }
        }
        Ok(())
    }

    fn check_drift(&mut self, config: &Config, drift: f64) -> Result<(), ApiError> {
        for check in config.guard.chain.on(Side::Input) {
            // A drift that is not known may be any.
            if !matches!(check.kind, Kind::Drift(max) if drift > max || drift.is_nan()) {
                continue;
            }
            self.note(Decision { check: check.name.clone(), side: Side::Input, action: check.action.name(), count: 1 });
            match check.action {
                Action::Block => return Err(blocked(&check.name, "preference")),
                Action::Hold => {
                    self.held.push(check.name.clone());
                    self.soup_held = true;
                }
                Action::Allow | Action::Redact => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, flow: &Flow) {
        for check in flow.held() {
            if !self.held.contains(check) {
                self.held.push(check.clone());
            }
        }
        flow.decisions().iter().cloned().for_each(|decision| self.note(decision));
    }

    fn note(&mut self, new: Decision) {
        match self.decisions.iter_mut().find(|old| old.check == new.check && old.action == new.action) {
            Some(old) => old.count += new.count,
            None => self.decisions.push(new),
        }
    }
}

fn blocked(check: &str, field: &str) -> ApiError {
    let detail = format!("the check {check:?} of this server does not let this through");
    ApiError::invalid("blocked_input", field, detail)
}

/// 503: what cannot be checked does not pass.
pub(crate) fn unavailable(check: &str, retry_after_s: u64) -> ApiError {
    let detail = format!("the check {check:?} cannot be made now, and what is not checked does not pass");
    ApiError::busy("guard_unavailable", detail, retry_after_s)
}
