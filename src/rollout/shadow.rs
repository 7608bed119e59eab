//! What the candidate would have answered: generated beside the answer, counted, and dropped.

use std::sync::Arc;

use tokio::time::Instant;
use tureen_engine::{Event, Generation, GenerationError, Submission};

use super::{Arm, Running, Watch};
use crate::app::App;
use crate::live::Reason;
use crate::metrics::{End, Metrics, ShadowEnd};

/// A generation of the candidate that nobody waits for.
pub struct Shadow {
    running: Arc<Running>,
    watch: Watch,
    metrics: Arc<Metrics>,
}

impl Shadow {
    pub(super) fn new(running: Arc<Running>, watch: Watch, metrics: Arc<Metrics>) -> Self {
        Self { running, watch, metrics }
    }

    /// The roll-out whose candidate it tries.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Generates what was submitted until it ends, or the roll-out, the time or the server does. `None` is what the
    /// candidate cannot give, although the stable revision gives it.
    pub fn cast(self, app: &App, submission: Option<Submission>) {
        let Some(submission) = submission else {
            self.metrics.shadow(ShadowEnd::Error);
            return self.watch.refused();
        };
        let Some(generation) = app.engine.shadow(submission) else { return self.metrics.shadow(ShadowEnd::Dropped) };
        let (cut, timeout) = (app.lifecycle.cut_signal(), app.config.server.request_timeout);
        tokio::spawn(async move {
            let over = self.running.over.clone();
            let end = tokio::select! {
                biased;
                () = over.cancelled() => ShadowEnd::Dropped,
                () = cut.cancelled() => ShadowEnd::Dropped,
                end = tokio::time::timeout(timeout, self.listen(generation)) => end.unwrap_or(ShadowEnd::Dropped),
            };
            self.metrics.shadow(end);
        });
    }

    async fn listen(&self, mut generation: Generation) -> ShadowEnd {
        let begun = Instant::now();
        let ended = |end| self.metrics.revision_ended(Arm::Candidate, end, begun.elapsed());
        while let Some(event) = generation.next().await {
            match event {
                Event::Token { index: 0, .. } => {
                    self.metrics.revision_first_token(Arm::Candidate, begun.elapsed());
                }
                Event::Token { .. } => {}
                Event::Finished { reason, generated_tokens, .. } => {
                    self.metrics.revision_tokens(Arm::Candidate, generated_tokens);
                    ended(Reason::Engine(reason).into());
                    self.watch.outcome(false);
                    return ShadowEnd::Finished;
                }
                // It is nobody's fault.
                Event::Failed(GenerationError::Displaced | GenerationError::ShuttingDown) => break,
                Event::Failed(error) => {
                    tracing::warn!(code = error.code(), "the candidate failed in the shadow");
                    ended(End::Error);
                    self.watch.outcome(true);
                    return ShadowEnd::Error;
                }
            }
        }
        ShadowEnd::Dropped
    }
}
