//! Which route needs which scope.

use std::fmt;

use axum::http::Method;

use super::{Scope, Scopes};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: probes and documentation.
    Public,
    /// A key, whatever its scopes.
    Key,
    /// A key with this scope.
    Scope(Scope),
}

/// What `method` on the route with this pattern asks for. Whatever is not listed asks for [`Scope::Admin`].
pub fn access(method: &Method, route: &str) -> Access {
    // axum answers HEAD with the handler of GET.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    match (method, route) {
        ("GET", "/livez" | "/readyz" | "/openapi.json" | "/docs" | "/docs/" | "/docs/{*rest}") => Access::Public,
        ("GET", "/policies" | "/policies/{id}" | "/v1/models") => Access::Key,
        ("POST", "/generate" | "/v1/chat/completions") => Access::Scope(Scope::Generate),
        ("GET", "/reviews/{id}") => Access::Scope(Scope::Generate),
        ("GET", "/users/{id}/profile" | "/users/{id}/export") => Access::Scope(Scope::ProfilesRead),
        ("PUT" | "PATCH" | "DELETE", "/users/{id}/profile") => Access::Scope(Scope::ProfilesWrite),
        ("DELETE", "/users/{id}") => Access::Scope(Scope::ProfilesWrite),
        ("POST", "/users/{id}/feedback") | ("GET", "/users/{id}/next-question") => Access::Scope(Scope::Feedback),
        ("GET", "/metrics") => Access::Scope(Scope::Metrics),
        _ => Access::Scope(Scope::Admin),
    }
}

impl Access {
    /// Whether a key with these scopes may pass.
    pub(super) fn allows(self, scopes: Scopes) -> bool {
        match self {
            Self::Public | Self::Key => true,
            Self::Scope(scope) => scopes.contains(scope),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Key => "any",
            Self::Scope(scope) => scope.name(),
        })
    }
}
