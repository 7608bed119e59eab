//! The middleware that every request passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};

use super::limit::Permit;
use super::{Access, access};
use crate::app::App;
use crate::problem::ApiError;

/// Lets a request through with its [`Caller`](super::Caller), or answers 401, 403 or 429.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    // Without a route there is nothing to guard: the answer is 404 for everyone.
    let Some(route) = request.extensions().get::<MatchedPath>() else { return next.run(request).await };
    let access = access(request.method(), route.as_str());
    if access == Access::Public {
        return next.run(request).await;
    }
    match app.auth.admit(bearer(request.headers()), access) {
        Ok((caller, permit)) => {
            request.extensions_mut().insert(caller);
            let response = next.run(request).await;
            match permit {
                Some(permit) => response.map(|body| Body::new(Held { body, _permit: permit })),
                None => response,
            }
        }
        Err(error) => refuse(error),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, given) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim_start())
}

fn refuse(error: ApiError) -> Response {
    let asks = error.status == StatusCode::UNAUTHORIZED;
    let mut response = error.into_response();
    if asks {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A body that holds its key's place until it was sent or dropped: a stream counts as long as it runs.
struct Held {
    body: Body,
    _permit: Permit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
