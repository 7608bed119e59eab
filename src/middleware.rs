//! The whole middleware stack, in order, in one function.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Response as HttpResponse};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::app::App;
use crate::auth::guard;
use crate::problem::{ApiError, Shape};
use crate::request_id::{self, RequestId};

/// Wraps `router`. A request meets the layers from the last line up: it gets its id, is timed and logged, has its
/// errors put into shape, a panic becomes a 500, and whoever sent it must be allowed to.
pub fn apply(router: Router, app: &App) -> Router {
    router
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(shape_errors))
        .layer(from_fn_with_state(app.clone(), observe))
        .layer(from_fn(identify))
}

async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::choose(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, id.header_value());
    response
}

/// Counts and logs. The route's pattern is used, never the path: a path may hold a name, and has no bound.
async fn observe(State(app): State<App>, id: RequestId, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let span = tracing::info_span!("request", id = id.as_str(), method, route);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    app.metrics.http(method, route, status);
    span.in_scope(|| tracing::info!(status, head_ms = started.elapsed().as_millis() as u64, "answered"));
    response
}

async fn shape_errors(id: RequestId, request: Request, next: Next) -> Response {
    let shape = Shape::of(request.uri().path());
    let mut response = next.run(request).await;
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if is_bare_error(&response) => ApiError::of_status(response.status()),
        None => return response,
    };
    let mut shaped = error.render(shape, id.as_str());
    for (name, value) in response.headers() {
        // Keeps Allow, WWW-Authenticate and x-soup-id; the body's own headers are already right.
        if !shaped.headers().contains_key(name) && name != axum::http::header::CONTENT_LENGTH {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    shaped
}

/// An error that a library answered in plain text or with nothing.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    (status.is_client_error() || status.is_server_error()) && !kind.is_some_and(|k| k.contains("json"))
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> HttpResponse<axum::body::Body> {
    // The payload may quote a prompt: only that it happened is logged.
    drop(panic);
    tracing::error!("a handler panicked");
    ApiError::of_status(axum::http::StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// A method as a label: the client may send any word, the metrics know these.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
