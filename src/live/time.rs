//! How long an answer may take.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::problem::ApiError;

/// Until when an answer may run.
pub(super) struct Time {
    deadline: Instant,
    cut: CancellationToken,
}

impl Time {
    pub(super) fn new(started: Instant, timeout: Duration, cut: CancellationToken) -> Self {
        Self { deadline: started + timeout, cut }
    }

    /// What `work` gives, if there is time for it.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(ApiError::shutting_down()),
            () = tokio::time::sleep_until(self.deadline) => Err(late()),
            done = work => Ok(done),
        }
    }
}

/// 504: it took longer than it may.
pub(crate) fn late() -> ApiError {
    let detail = "the generation took longer than server.request_timeout_ms; ask for fewer tokens";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail)
}
