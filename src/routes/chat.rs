//! `POST /v1/chat/completions`

use std::convert::Infallible;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt, iter, unfold};
use serde_json::Value;

use super::models;
use super::reviews::answer;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::Valid;
use crate::live::{Live, Step};
use crate::problem::{ApiError, Shape};
use crate::request_id::RequestId;
use crate::submit::{SOUP_ID, soup_header, submit};
use crate::wire::chat::ChatRequest;
use crate::wire::completion::Frame;
use crate::wire::problem::OpenAiError;

/// Chat in OpenAI's shape
///
/// Existing SDKs work: put the preference in `model` ("soup:concise=0.6,friendly=0.4") or send `preference` as an
/// extra field. Unknown fields are ignored.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "generate",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "A chat.completion, or a stream of chat.completion.chunk that ends with [DONE]",
            content((Object = "application/json"), (String = "text/event-stream")),
            headers(("x-soup-id" = String), ("x-request-id" = String))),
        (status = 202, description = "The answer is held until a person decides about it; see `GET /reviews/{id}`",
            content((Object = "application/json"))),
        (status = 400, description = "The body is not JSON", body = OpenAiError),
        (status = 403, description = "The key does not have the scope, or a person has to decide about the prompt first: \
            then `review_id` names the review",
            body = OpenAiError),
        (status = 404, description = "No such model or user", body = OpenAiError),
        (status = 413, description = "The body is too large", body = OpenAiError),
        (status = 415, description = "The body is not announced as JSON", body = OpenAiError),
        (status = 422, description = "A value cannot be used; `param` names it", body = OpenAiError),
        (status = 500, description = "The engine failed", body = OpenAiError),
        (status = 503, description = "No capacity now; see Retry-After", body = OpenAiError),
        (status = 504, description = "The generation took too long", body = OpenAiError),
    )
)]
pub(super) async fn chat(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Valid(request): Valid<ChatRequest>,
) -> Result<Response, ApiError> {
    let model = models::resolve(&app, request.model)?;
    let live = submit(&app, &caller, &id, request.order).await?;
    let soup_id = soup_header(live.soup());
    let frame = Frame::new(&id, model, request.logprobs, request.include_usage);
    let response = if request.stream {
        stream(live, id, frame, app.config.server.keep_alive).await?.into_response()
    } else {
        whole(live, frame).await?
    };
    Ok(([(SOUP_ID, soup_id)], response).into_response())
}

async fn whole(mut live: Live, frame: Frame) -> Result<Response, ApiError> {
    let mut tokens = Vec::new();
    loop {
        match live.next().await {
            Some(Step::Token { token, .. }) => tokens.push(token),
            Some(Step::Finished(finished)) => {
                let review = finished.review.clone();
                let completion = frame.completion(finished, &tokens, live.soup().clone());
                return Ok(answer(review.as_deref(), completion));
            }
            Some(Step::Failed(error)) => return Err(error),
            None => return Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

/// As on `/generate`: the first step decides the status, the body owns the generation.
async fn stream(
    mut live: Live,
    id: RequestId,
    frame: Frame,
    keep_alive: std::time::Duration,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let first = match live.next().await {
        Some(Step::Failed(error)) => return Err(error),
        first => first,
    };
    let opening = iter([Ok(data(&frame.opening()))]);
    let steps = unfold((first, live, id, frame), |(waiting, mut live, id, frame)| async move {
        let step = match waiting {
            Some(step) => step,
            None => live.next().await?,
        };
        let events = events(step, &live, &id, &frame);
        Some((iter(events.into_iter().map(Ok)), (None, live, id, frame)))
    });
    Ok(Sse::new(opening.chain(steps.flatten())).keep_alive(KeepAlive::new().interval(keep_alive)))
}

/// One step is one chunk, except the end: the last chunk, the usage if asked for, and `[DONE]`.
fn events(step: Step, live: &Live, id: &RequestId, frame: &Frame) -> Vec<Event> {
    match step {
        Step::Token { token, .. } => vec![data(&frame.token(&token))],
        Step::Finished(finished) => {
            let chunks = frame.closing(&finished, live.soup());
            chunks.iter().map(data).chain([Event::default().data("[DONE]")]).collect()
        }
        // Named, so that the official clients raise it.
        Step::Failed(error) => {
            vec![Event::default().event("error").data(error.body(Shape::OpenAi, id.as_str()).to_string())]
        }
    }
}

fn data(chunk: &Value) -> Event {
    Event::default().data(chunk.to_string())
}
