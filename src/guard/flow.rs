//! A text on its way past all checks of its side.

use std::sync::Arc;

use super::chain::{Action, Chain, Kind, Side};
use super::moderation::{Moderated, Moderator};
use super::scan::{Fate, Scanned, Scanner};

/// What a check decided about one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The check.
    pub check: Arc<str>,
    /// What was checked.
    pub side: Side,
    /// `allow`, `redact`, `block` or `hold`; `failed_open` when the endpoint did not answer and the text passed.
    pub action: &'static str,
    /// Matches.
    pub count: usize,
}

/// This check could not be made, and what cannot be checked does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the check {0:?} could not be made")]
pub struct Unavailable(pub Arc<str>);

/// The stages of one text. Each holds back what could still become a match, and passes on the rest to the next: what
/// leaves the last one does not depend on the pieces that the text came in.
#[derive(Debug)]
pub struct Flow {
    side: Side,
    stages: Vec<Stage>,
    decisions: Vec<Decision>,
    blocked: Option<Arc<str>>,
    held: Vec<Arc<str>>,
    changed: bool,
}

#[derive(Debug)]
struct Stage {
    check: Arc<str>,
    action: Action,
    look: Look,
}

#[derive(Debug)]
enum Look {
    Scan(Scanner),
    Ask(Moderator),
}

impl Flow {
    /// The way of a text on `side`.
    pub fn new(chain: &Chain, side: Side) -> Self {
        let mut stages = Vec::new();
        for check in chain.on(side) {
            let mut add = |look| stages.push(Stage { check: check.name.clone(), action: check.action, look });
            match &check.kind {
                Kind::Patterns(patterns) => {
                    for (pattern, replacement) in patterns {
                        let fate = match check.action {
                            Action::Allow | Action::Hold => Fate::Pass,
                            Action::Redact => Fate::Replace(replacement.clone()),
                            Action::Block => Fate::Stop,
                        };
                        add(Look::Scan(Scanner::new(pattern.clone(), fate)));
                    }
                }
                Kind::Moderation(moderation) => {
                    add(Look::Ask(Moderator::new(moderation, check.action == Action::Block)));
                }
                // Of the soup, not of a text.
                Kind::Drift(_) => {}
            }
        }
        Self { side, stages, decisions: Vec::new(), blocked: None, held: Vec::new(), changed: false }
    }

    /// More text. What may leave of it, and of what was held back. Nothing after [`Flow::blocked`].
    ///
    /// # Errors
    /// When a check cannot be made.
    pub async fn push(&mut self, text: &str) -> Result<String, Unavailable> {
        self.advance(text, false).await
    }

    /// There is no more text: `text` is the last.
    ///
    /// # Errors
    /// As [`Flow::push`].
    pub async fn finish(&mut self, text: &str) -> Result<String, Unavailable> {
        self.advance(text, true).await
    }

    /// What was decided so far.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The check that ended the text.
    pub fn blocked(&self) -> Option<&Arc<str>> {
        self.blocked.as_ref()
    }

    /// The checks that want a person to decide.
    pub fn held(&self) -> &[Arc<str>] {
        &self.held
    }

    /// Whether what left is another text than what came, up to its end.
    pub fn changed(&self) -> bool {
        self.changed
    }

    async fn advance(&mut self, text: &str, mut last: bool) -> Result<String, Unavailable> {
        if self.blocked.is_some() {
            return Ok(String::new());
        }
        let mut text = text.to_owned();
        for stage in &mut self.stages {
            if text.is_empty() && !last {
                break;
            }
            let (check, action) = (&stage.check, stage.action);
            let (found, stopped) = match &mut stage.look {
                Look::Scan(scanner) => {
                    let Scanned { text: out, found, stopped } = scanner.push(&text, last);
                    text = out;
                    (found, stopped)
                }
                Look::Ask(moderator) => {
                    let asked = moderator.push(&text, last).await.map_err(|_| Unavailable(check.clone()))?;
                    let Moderated { text: out, found, unanswered, stopped } = asked;
                    text = out;
                    note(&mut self.decisions, (check, self.side, "failed_open"), unanswered);
                    (found, stopped)
                }
            };
            note(&mut self.decisions, (check, self.side, action.name()), found);
            if found > 0 {
                self.changed |= action == Action::Redact;
                if action == Action::Hold && !self.held.contains(check) {
                    self.held.push(check.clone());
                }
            }
            if stopped {
                // For the checks behind it, the text ends here.
                last = true;
                self.blocked = Some(check.clone());
            }
        }
        Ok(text)
    }
}

fn note(decisions: &mut Vec<Decision>, (check, side, action): (&Arc<str>, Side, &'static str), count: usize) {
    if count == 0 {
        return;
    }
    match decisions.iter_mut().find(|d| d.check == *check && d.side == side && d.action == action) {
        Some(decision) => decision.count += count,
        None => decisions.push(Decision { check: check.clone(), side, action, count }),
    }
}
