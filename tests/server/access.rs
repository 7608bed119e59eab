//! Which route asks for which scope: shown as one table, and enforced for each route of the document.

use std::fmt::Write;

use reqwest::Method;
use serde_json::Value;

use crate::common::{Server, problem};

/// Serves without a key, whatever the configuration.
const PUBLIC: [&str; 2] = ["/livez", "/readyz"];

fn operations() -> Vec<(Method, String, Value)> {
    let document = serde_json::to_value(tureen::router::document()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.to_uppercase().parse().unwrap(), path.clone(), operation.clone()));
        }
    }
    operations
}

async fn send(server: &Server, method: Method, path: &str, key: Option<&str>) -> reqwest::Response {
    let path = path.replace("{id}", "concise");
    let request = server.http.request(method, server.url(&path));
    let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
    request.send().await.unwrap()
}

#[tokio::test]
async fn without_a_key_every_route_is_closed_but_for_the_probes() {
    let server = Server::locked().await;
    let wrong = format!("tureen_{}_{}", "0".repeat(16), "0".repeat(64));
    let cut = &server.key("").await[..60];
    for (method, path, _) in operations() {
        for key in [None, Some("unused"), Some(wrong.as_str()), Some(cut)] {
            let response = send(&server, method.clone(), &path, key).await;
            let challenge = response.headers().get("www-authenticate").cloned();
            if PUBLIC.contains(&path.as_str()) {
                assert_eq!(response.status(), 200, "{method} {path}");
                continue;
            }
            assert_eq!(response.status(), 401, "{method} {path} with {key:?}");
            assert_eq!(challenge.unwrap(), "Bearer");
            let body: Value = response.json().await.unwrap();
            let code = if path.starts_with("/v1/") { &body["error"]["code"] } else { &body["code"] };
            assert_eq!(code, "unauthorized");
        }
    }
    assert_eq!(send(&server, Method::GET, "/no/such/route", None).await.status(), 404);
    assert_eq!(send(&server, Method::DELETE, "/generate", None).await.status(), 401, "a method nobody listed");
}

#[tokio::test]
async fn every_scope_opens_its_routes_and_no_others() {
    let server = Server::locked().await;
    let scopes = ["", "generate", "profiles:read", "profiles:write", "feedback", "admin", "metrics"];
    let mut keys = Vec::new();
    for scope in scopes {
        keys.push(server.key(scope).await);
    }
    let mut table = String::new();
    for (method, path, operation) in operations() {
        let asks = operation["security"][0]["key"].as_array().map(|scopes| scopes.first().cloned());
        let named = match &asks {
            None => "public".to_owned(),
            Some(None) => "any key".to_owned(),
            Some(Some(scope)) => scope.as_str().unwrap().to_owned(),
        };
        writeln!(table, "{:<7} {path:<26} {named}", method.as_str()).unwrap();
        for (scope, key) in scopes.iter().zip(&keys) {
            let response = send(&server, method.clone(), &path, Some(key)).await;
            let open = !matches!(&asks, Some(Some(asked)) if asked != scope);
            // Behind the guard a request may still be refused: these have no body and name nobody.
            assert_eq!(response.status() != 403, open, "{method} {path} with the scope {scope:?}");
            assert_ne!(response.status(), 401, "{method} {path}");
        }
    }
    insta::assert_snapshot!("access", table);
}

#[tokio::test]
async fn a_key_without_the_scope_is_told_which() {
    let server = Server::locked().await;
    let key = server.key("metrics").await;
    let response = send(&server, Method::POST, "/generate", Some(&key)).await;
    let (status, code, problem) = problem(response).await;
    assert_eq!((status, code.as_str()), (403, "missing_scope"));
    assert!(problem["detail"].as_str().unwrap().contains("generate"), "{problem}");
    assert!(!problem.to_string().contains(&key[30..]));
}
