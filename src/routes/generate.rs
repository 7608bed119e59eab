//! `POST /generate`

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};

use super::reviews::answer;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::Valid;
use crate::live::{Finished, Live, Step};
use crate::problem::{ApiError, Shape};
use crate::request_id::RequestId;
use crate::submit::{SOUP_ID, soup_header, submit};
use crate::wire::answer::{GenerateResponse, StreamEvent, Token};
use crate::wire::generate::GenerateRequest;
use crate::wire::problem::Problem;
use crate::wire::review::ReviewLink;

/// Generate text
///
/// The answer is whole, or with `stream: true` an event stream: unnamed events hold a `StreamEvent` each, the last one
/// also `generated_text`, `details` and `soup`. A stream that breaks off ends with `event: error` and a `Problem`
/// instead. There is always exactly one of these two.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "generate",
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "The text", content(
            (GenerateResponse = "application/json"),
            (StreamEvent = "text/event-stream"),
        ), headers(("x-soup-id" = String), ("x-request-id" = String))),
        (status = 202, description = "The answer is held until a person decides about it; see `GET /reviews/{id}`",
            body = GenerateResponse),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key does not have the scope, or a person has to decide about the prompt first: \
            then `review_id` names the review",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such user", body = Problem,
            content_type = "application/problem+json"),
        (status = 408, description = "The body took too long", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not announced as JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A value cannot be used; `field` names it", body = Problem,
            content_type = "application/problem+json"),
        (status = 500, description = "The engine failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No capacity now; see Retry-After", body = Problem,
            content_type = "application/problem+json"),
        (status = 504, description = "The generation took too long", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn generate(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Valid(request): Valid<GenerateRequest>,
) -> Result<Response, ApiError> {
    let live = submit(&app, &caller, &id, request.order).await?;
    let soup_id = soup_header(live.soup());
    let response = if request.stream {
        stream(live, id, app.config.server.keep_alive).await?.into_response()
    } else {
        whole(live, id, request.logprobs).await?
    };
    Ok(([(SOUP_ID, soup_id)], response).into_response())
}

async fn whole(mut live: Live, id: RequestId, logprobs: bool) -> Result<Response, ApiError> {
    let mut tokens = Vec::new();
    loop {
        match live.next().await {
            Some(Step::Token { token, .. }) if logprobs => tokens.push(token),
            Some(Step::Token { .. }) => {}
            Some(Step::Finished(Finished { text, mut details, explanation, review, .. })) => {
                details.tokens = logprobs.then_some(tokens);
                let (soup, request_id) = (live.soup().clone(), id.as_str().to_owned());
                let held = review.as_deref();
                let review = review.clone().map(ReviewLink::new);
                let body = GenerateResponse { generated_text: text, details, soup, request_id, explanation, review };
                return Ok(answer(held, body));
            }
            Some(Step::Failed(error)) => return Err(error),
            None => return Err(ApiError::of_status(axum::http::StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

/// Waits for the first step, so that whatever fails before it still has a status of its own.
async fn stream(
    mut live: Live,
    id: RequestId,
    keep_alive: std::time::Duration,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let first = match live.next().await {
        Some(Step::Failed(error)) => return Err(error),
        first => first,
    };
    // The body owns the generation: when the client leaves, hyper drops the body, and the row is free.
    let events = unfold((first, live, id), |(waiting, mut live, id)| async move {
        let step = match waiting {
            Some(step) => step,
            None => live.next().await?,
        };
        let event = event(step, &live, &id);
        Some((Ok(event), (None, live, id)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(keep_alive)))
}

fn event(step: Step, live: &Live, id: &RequestId) -> Event {
    let event = match step {
        Step::Token { index, token } => StreamEvent { index, token, ..StreamEvent::default() },
        Step::Finished(Finished { index, tail, text, details, explanation, review, .. }) => StreamEvent {
            index,
            token: Token { id: None, text: tail, logprob: None },
            generated_text: Some(text),
            details: Some(details),
            soup: Some(live.soup().clone()),
            request_id: Some(id.as_str().to_owned()),
            explanation,
            review: review.map(ReviewLink::new),
        },
        Step::Failed(error) => {
            return Event::default().event("error").data(error.body(Shape::Problem, id.as_str()).to_string());
        }
    };
    Event::default().data(serde_json::to_string(&event).expect("numbers and strings are always JSON"))
}
