//! Words said wherever a client can say something, so that a test can look for them where they must not be.

use serde_json::{Value, json};

/// What every word begins with.
pub(crate) const MARK: &str = "canary";

/// Somebody with a key that has every scope.
struct Client<'a> {
    http: reqwest::Client,
    url: &'a str,
    key: &'a str,
}

impl Client<'_> {
    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).bearer_auth(self.key)
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}: {}", response.text().await.unwrap());
        let text = response.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}

/// Says them to the server at `url` in prompts, names, choices, headers, paths and broken requests. Tells what must not be
/// found besides [`MARK`]: the answers, which nobody could know before, and the secret of the key.
pub(crate) async fn say(url: &str, key: &str) -> Vec<String> {
    let client = Client { http: reqwest::Client::new(), url, key };
    learn_by_profile(&client).await;
    let answers = answers(&client).await;
    refused(&client).await;
    forget(&client).await;
    let escaped = |text: &String| [text.clone(), format!("{text:?}"), json!(text).to_string()];
    let mut found: Vec<String> =
        answers.iter().flat_map(escaped).map(|text| text.trim_matches('"').to_owned()).collect();
    assert!(found.iter().all(|text| text.trim().len() > 8), "too short to be known again: {found:?}");
    found.push(key[key.len() - 64..].to_owned());
    found
}

async fn learn_by_profile(client: &Client<'_>) {
    let profile = format!("{}/users/canary-user/profile", client.url);
    let put = async |_: usize| {
        let request = client.http.put(&profile).bearer_auth(client.key).header("idempotency-key", "canary-change");
        let body = json!({"preference": {"concise": 1}});
        assert!(request.json(&body).send().await.unwrap().status().is_success());
    };
    // At once, so that the database sees them fight for the same rows.
    futures_util::future::join_all((0..8).map(put)).await;
    let texts = json!({
        "messages": [{"role": "system", "content": "canary-system"}, {"role": "user", "content": "canary-asked"}],
        "chosen": {"text": "canary-good"}, "rejected": {"text": "canary-bad"}
    });
    let feedback = client.post("/users/canary-user/feedback").header("idempotency-key", "canary-feedback");
    assert_eq!(feedback.json(&texts).send().await.unwrap().status(), 200);
    let patch = client.http.patch(&profile).bearer_auth(client.key).json(&json!({"merge": {"strength": 2}}));
    assert_eq!(patch.send().await.unwrap().status(), 200);
}

/// Asks on every route that answers, and teaches by the answer.
async fn answers(client: &Client<'_>) -> Vec<String> {
    let parameters = json!({"max_new_tokens": 24, "ignore_eos": true, "temperature": 1.5, "stop": ["canary-stop"]});
    let body = json!({"inputs": "canary-prompt", "user": "canary-user", "parameters": parameters, "explain": true});
    let first = client.ask("/generate", &body).await;
    let edited = json!({"answer": {"request_id": first["request_id"]}, "edited": "canary-edited"});
    client.ask("/users/canary-user/feedback", &edited).await;
    let stream =
        json!({"inputs": "canary-prompt", "preference": {"friendly": 1}, "parameters": parameters, "stream": true});
    let events = client.ask("/generate", &stream).await;
    let last = events.as_str().unwrap().lines().rfind(|line| line.starts_with("data:")).unwrap();
    let last: Value = serde_json::from_str(&last["data:".len()..]).unwrap();
    let chat = json!({
        "model": "profile:canary-user", "messages": [{"role": "user", "content": "canary-chat"}],
        "max_tokens": 24, "temperature": 1.5
    });
    let chat = client.ask("/v1/chat/completions", &chat).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = [text(&first["generated_text"]), text(&last["generated_text"])];
    // The base may end its answer early: then there is nothing to find.
    let chat = Some(text(&chat["choices"][0]["message"]["content"])).filter(|said| said.trim().len() > 12);
    told.into_iter().chain(chat).collect()
}

async fn refused(client: &Client<'_>) {
    for body in [
        "{\"inputs\": \"canary-cut",
        "{\"inputs\": \"x\", \"canary-field\": 1}",
        "{\"inputs\": \"x\", \"preference\": {\"canary-weight\": 1}}",
        "{\"inputs\": \"x\", \"user\": \"canary-nobody\"}",
        "{\"inputs\": \"x\", \"parameters\": {\"seed\": \"canary-seed\"}}",
    ] {
        let request = client.post("/generate").header("content-type", "application/json").body(body);
        assert!(request.send().await.unwrap().status().is_client_error(), "{body}");
    }
    for path in [
        "/canary-path?canary=query",
        "/policies/canary-policy",
        "/users?cursor=canary-cursor",
        "/users/canary-b/profile",
    ] {
        client.http.get(format!("{}{path}", client.url)).bearer_auth(client.key).send().await.unwrap();
    }
    let wrong = format!("tureen_{}_canary", "0".repeat(16));
    for key in ["canary-key", &wrong] {
        let request = client.http.post(format!("{}/admin/pool/reload", client.url)).bearer_auth(key);
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    let agent = client.http.get(format!("{}/livez", client.url)).header("user-agent", "canary-agent");
    agent.header("x-request-id", "canary id").header("cookie", "canary-cookie").send().await.unwrap();
}

async fn forget(client: &Client<'_>) {
    for path in ["/users", "/users/canary-user/export", "/users/canary-user/next-question"] {
        let told = client.http.get(format!("{}{path}", client.url)).bearer_auth(client.key).send().await.unwrap();
        assert_eq!(told.status(), 200, "{path}");
    }
    let erased = client.http.delete(format!("{}/users/canary-user", client.url)).bearer_auth(client.key);
    assert_eq!(erased.send().await.unwrap().status(), 200);
}
