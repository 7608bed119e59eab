//! What the OpenAPI document says about keys, made from the same table that the guard reads.

use axum::http::Method;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::{Access, access};
use crate::problem::Shape;
use crate::refusals::refusal;

const SCHEME: &str = "key";

/// Adds to each operation the scope it asks for, and what it answers without.
pub(crate) fn annotate(mut document: OpenApi) -> OpenApi {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description =
        Some("A key made with `tureen keys add`. Not asked for on loopback addresses, unless configured.".into());
    document.components.get_or_insert_default().add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                ask(operation, access(&method, path), Shape::of(path));
            }
        }
    }
    document
}

fn ask(operation: &mut Operation, access: Access, shape: Shape) {
    let scopes = match access {
        Access::Public => return,
        Access::Key => None,
        Access::Scope(scope) => Some(scope.name()),
    };
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, scopes)]);
    let refusals = [
        ("401", "There is no key, or it does not work"),
        ("403", "The key does not have the scope"),
        ("429", "The key asked for more than it may; see Retry-After"),
    ];
    for (status, description) in refusals {
        // A route that has more to say of it does.
        let told = operation.responses.responses.entry(status.into());
        told.or_insert_with(|| refusal(description, shape).into());
    }
}
