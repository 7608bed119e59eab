//! Holding what a person has to decide about.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;
use sha2::{Digest, Sha256};
use tureen_engine::Message;

use super::chain::Side;
use super::input::Checked;
use crate::app::App;
use crate::auth::Caller;
use crate::order::{Order, Wish};
use crate::problem::ApiError;
use crate::request_id::RequestId;
use crate::store::{Held, NewReview, Review, Status, Store, UserId};

/// One request, as far as a review tells of it.
pub(crate) struct Holder {
    store: Store,
    most: u64,
    owner: Arc<str>,
    user: Option<UserId>,
    request: String,
    /// The messages behind the checks of the input, as JSON.
    prompt: String,
}

impl Holder {
    /// `None` when no check holds anything. The messages of `order` are as the checks left them.
    pub(crate) fn new(app: &App, caller: &Caller, id: &RequestId, order: &Order) -> Option<Self> {
        let chain = &app.config.guard.chain;
        let store = app.store.clone().filter(|_| chain.holds(Side::Input) || chain.holds(Side::Output))?;
        let user = match &order.wish {
            Wish::Inline { .. } => None,
            Wish::Profile { user, .. } => Some(user.clone()),
        };
        Some(Self {
            store,
            most: app.config.guard.max_reviews,
            owner: caller.owner().clone(),
            user,
            request: id.as_str().to_owned(),
            prompt: messages(&order.messages),
        })
    }

    /// Lets a prompt pass that no check held, or that a person approved for this `soup`.
    ///
    /// # Errors
    /// 403 until a person decides, 422 when one refused.
    pub(crate) async fn admit(&self, checked: &Checked, soup: &str) -> Result<(), ApiError> {
        if checked.held.is_empty() {
            return Ok(());
        }
        // What a check of the soup held is approved for this soup.
        let soup = if checked.soup_held { soup } else { "" };
        let checks: Vec<_> = checked.held.iter().map(|check| &**check).collect();
        let user = self.user.as_ref().map(UserId::as_str);
        let whole = json!([checks, soup, user, self.prompt]);
        let fingerprint = hex::encode(Sha256::digest(whole.to_string()));
        let Review { id, status, .. } = self.hold(&checked.held, Held::Input { fingerprint }).await?;
        match status {
            Status::Approved => Ok(()),
            Status::Pending => {
                let detail = format!(
                    "a person has to decide about this first: send it again when GET /reviews/{id} says approved"
                );
                Err(ApiError {
                    review: Some(id.into()),
                    ..ApiError::new(StatusCode::FORBIDDEN, "held_for_review", detail)
                })
            }
            Status::Rejected => {
                let refused = ApiError::invalid("blocked_input", "inputs", "a person decided not to let this through");
                Err(ApiError { review: Some(id.into()), ..refused })
            }
        }
    }

    /// Holds an answer, and tells the id of its review.
    ///
    /// # Errors
    /// 503 when it cannot be stored.
    pub(super) async fn answer(&self, checks: &[Arc<str>], answer: String) -> Result<String, ApiError> {
        Ok(self.hold(checks, Held::Output(answer)).await?.id)
    }

    async fn hold(&self, checks: &[Arc<str>], what: Held) -> Result<Review, ApiError> {
        let new = NewReview {
            owner: self.owner.to_string(),
            user: self.user.clone(),
            request: self.request.clone(),
            checks: checks.join(","),
            prompt: self.prompt.clone(),
            what,
        };
        Ok(self.store.hold(new, self.most).await?)
    }
}

fn messages(messages: &[Message]) -> String {
    json!(messages.iter().map(|m| json!({"role": m.role, "content": m.content})).collect::<Vec<_>>()).to_string()
}
