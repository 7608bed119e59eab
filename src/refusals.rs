//! What the OpenAPI document says of refusals that come before the handler: every operation of a kind has them, so they are
//! written down once.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, Response, ResponseBuilder};

use crate::problem::Shape;

/// Of whoever sends a body.
const OF_BODIES: [(&str, &str); 5] = [
    ("400", "The body is not JSON, or a header cannot be read"),
    ("408", "The body took too long"),
    ("413", "The body is too large"),
    ("415", "The body is not announced as JSON"),
    ("422", "A value cannot be used"),
];

/// Of whoever asks for users.
const OF_USERS: [(&str, &str); 3] = [
    ("400", "A header cannot be read"),
    ("409", "This server keeps no profiles: [store] url is empty"),
    ("422", "A value cannot be used, or no user can have this name"),
];

/// Adds them where the route does not say more itself.
pub(crate) fn annotate(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        let shape = Shape::of(path);
        for operation in operations(item) {
            let of_bodies = OF_BODIES.iter().filter(|_| operation.request_body.is_some());
            let of_users = OF_USERS.iter().filter(|_| path.starts_with("/users"));
            let all: Vec<_> = of_bodies.chain(of_users).collect();
            for (status, description) in all {
                let told = operation.responses.responses.entry((*status).to_owned());
                told.or_insert_with(|| refusal(description, shape).into());
            }
        }
    }
    document
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    [get, put, post, patch, delete].into_iter().flatten()
}

/// An answer that refuses, in the shape of its route.
pub(crate) fn refusal(description: &str, shape: Shape) -> Response {
    let (kind, schema) = match shape {
        Shape::Problem => ("application/problem+json", "Problem"),
        Shape::OpenAi => ("application/json", "OpenAiError"),
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(description).content(kind, content).build()
}
