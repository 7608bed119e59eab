//! Which route asks for which scope, and whose data it reaches: shown as one table, for each route of the document.

use std::fmt::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Server, problem};
use crate::document::{Operation, document, operations};

/// Serves without a key, whatever the configuration.
const PUBLIC: [&str; 2] = ["/livez", "/readyz"];

/// A user, and a policy: what stands for `{id}` in a path.
const ID: &str = "concise";

async fn send(server: &Server, method: Method, path: &str, key: Option<&str>) -> reqwest::Response {
    request(server, method, path, key).send().await.unwrap()
}

fn request(server: &Server, method: Method, path: &str, key: Option<&str>) -> reqwest::RequestBuilder {
    let request = server.http.request(method, server.url(&path.replace("{id}", ID)));
    if let Some(key) = key { request.bearer_auth(key) } else { request }
}

#[tokio::test]
async fn without_a_key_every_route_is_closed_but_for_the_probes() {
    let server = Server::locked().await;
    let wrong = format!("tureen_{}_{}", "0".repeat(16), "0".repeat(64));
    let cut = &server.key("").await[..60];
    for Operation { method, path, .. } in operations(&document()) {
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

/// The example of the document. Where a user can be named, the one whose data is asked for is.
fn body(document: &Value, operation: &Operation) -> Option<Value> {
    let schema = operation.body(document)?;
    let mut body = schema["example"].clone();
    assert!(body.is_object(), "{} {} has no example", operation.method, operation.path);
    if !schema["properties"]["user"].is_null() {
        body.as_object_mut().unwrap().retain(|field, _| !["preference", "merge", "model"].contains(&field.as_str()));
        body["user"] = json!(ID);
    }
    Some(body)
}

/// Two owners: `ours` keeps a profile of the user, `theirs` keeps nothing.
struct Owners {
    ours: String,
    theirs: String,
}

impl Owners {
    async fn set_up(&self, server: &Server) {
        let body = json!({"preference": {"concise": 0.5, "friendly": 0.5}});
        let put = request(server, Method::PUT, "/users/{id}/profile", Some(&self.ours)).json(&body);
        put.send().await.unwrap().error_for_status().unwrap();
        let gone = send(server, Method::DELETE, "/users/{id}", Some(&self.theirs)).await;
        gone.error_for_status().unwrap();
    }

    /// Everything that is kept of the user.
    async fn kept(&self, server: &Server) -> Value {
        send(server, Method::GET, "/users/{id}/export", Some(&self.ours)).await.json().await.unwrap()
    }
}

/// Every route × every scope × the owner of what it reaches and another one. Each cell holds two statuses: with a key of
/// the owner, and with another owner's. What the latter does leaves the former's data as it is.
#[tokio::test]
async fn every_scope_opens_its_routes_and_no_others_and_reaches_its_owners_data_alone() {
    let settings = [("AUTH__RATE_PER_MINUTE", "0"), ("LIMITS__DEFAULT_NEW_TOKENS", "2")];
    let server = Server::locked_with(&settings).await;
    let all = "generate,profiles:read,profiles:write,feedback,admin,metrics";
    let columns = ["", "generate", "profiles:read", "profiles:write", "feedback", "admin", "metrics", all];
    let mut keys = Vec::new();
    for scopes in columns {
        keys.push((server.key_of("ours", scopes).await, server.key_of("theirs", scopes).await));
    }
    let (ours, theirs) = keys.last().unwrap().clone();
    let owners = Owners { ours, theirs };
    let document = document();
    let mut table = String::new();
    let heads = ["no scope", "generate", "p:read", "p:write", "feedback", "admin", "metrics", "all"];
    writeln!(table, "{:<34} {:<16} {:<8} {}", "", "asks for", "no key", heads.map(|h| format!("{h:<8}")).join(" "))
        .unwrap();
    for operation in operations(&document) {
        let Operation { method, path, .. } = &operation;
        let ask = async |key: Option<&str>| {
            let request = request(&server, method.clone(), path, key);
            let request = match body(&document, &operation) {
                Some(body) => request.json(&body),
                None => request,
            };
            request.send().await.unwrap().status().as_u16()
        };
        let mut cells = vec![format!("{:<8}", ask(None).await)];
        for (scopes, (own, foreign)) in columns.iter().zip(&keys) {
            owners.set_up(&server).await;
            let before = owners.kept(&server).await;
            let theirs = ask(Some(foreign)).await;
            assert_eq!(owners.kept(&server).await, before, "{method} {path} with {scopes:?} of another owner");
            cells.push(format!("{:<8}", format!("{}/{theirs}", ask(Some(own)).await)));
            let open = match operation.access() {
                "public" | "any key" => true,
                scope => scopes.split(',').any(|held| held == scope),
            };
            assert_eq!(theirs != 403, open, "{method} {path} with {scopes:?}");
        }
        let route = format!("{:<7} {path}", method.as_str());
        writeln!(table, "{route:<34} {:<16} {}", operation.access(), cells.join(" ").trim_end()).unwrap();
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
