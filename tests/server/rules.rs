//! Rules on the way of a request: refused or changed, and told.

use serde_json::{Value, json};
use tureen::startup;

use crate::common::{Fixture, Server, events, problem, short};
use crate::process::run;

#[tokio::test]
async fn what_is_outside_is_refused_with_every_rule() {
    let settings = [
        ("RULES__WEIGHTS", "concise >= 0.25, friendly <= 0.5"),
        ("RULES__METHODS", "exact"),
        ("RULES__MAX_STRENGTH", "2"),
    ];
    let server = Server::with(&settings).await;
    let (status, code, body) = problem(server.post("/generate", &short(json!({"friendly": 1}))).await).await;
    assert_eq!((status, code.as_str(), &body["field"]), (422, "weight_below_rule", &json!("preference")));
    assert_eq!(body["problems"].as_array().unwrap().len(), 2, "{body}");
    for (merge, code) in [
        (json!({"method": "ties"}), "merge_method_not_allowed"),
        (json!({"strength": 2.5}), "strength_over_rule"),
        (json!({"strength": 0.1}), "weight_below_rule"),
    ] {
        let mut body = short(json!({"concise": 1}));
        body["merge"] = merge;
        assert_eq!(problem(server.post("/generate", &body).await).await.1, code);
    }
    let served = server.generate(&short(json!({"concise": 1}))).await;
    assert!(served["soup"].get("asked").is_none() && served["soup"].get("rules").is_none(), "{served}");
    let chat = json!({"model": "soup:friendly=1", "messages": [{"role": "user", "content": "a"}]});
    let refused = server.post("/v1/chat/completions", &chat).await;
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "weight_below_rule");
}

#[tokio::test]
async fn what_is_projected_is_told_on_every_route() {
    let settings = [("RULES__WEIGHTS", "concise >= 0.25"), ("RULES__OUTSIDE", "project")];
    let server = Server::with(&settings).await;
    let told = |soup: &Value| {
        assert_eq!(soup["weights"], json!({"concise": 0.25, "friendly": 0.75}));
        assert_eq!(soup["asked"], json!({"weights": {"friendly": 1.0}, "strength": 1.0}));
        assert_eq!(soup["rules"][0]["code"], "weight_below_rule");
        assert_eq!(soup["rules"].as_array().unwrap().len(), 1);
    };
    let mut body = short(json!({"friendly": 1}));
    let whole = server.generate(&body).await;
    told(&whole["soup"]);
    // The soup is the one that asking for it gives.
    let same = server.generate(&short(json!({"friendly": 0.75, "concise": 0.25}))).await;
    assert_eq!((&same["soup"]["id"], &same["generated_text"]), (&whole["soup"]["id"], &whole["generated_text"]));
    body["stream"] = json!(true);
    let stream = events(&server.post("/generate", &body).await.text().await.unwrap());
    told(&stream.last().unwrap().1["soup"]);
    let mut chat = json!({"model": "soup:friendly=1", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2});
    told(&server.post("/v1/chat/completions", &chat).await.json::<Value>().await.unwrap()["soup"]);
    chat["stream"] = json!(true);
    let chunks = events(&server.post("/v1/chat/completions", &chat).await.text().await.unwrap());
    told(chunks.iter().find_map(|(_, chunk)| chunk.get("soup")).unwrap());
    let profile = json!({"preference": {"friendly": 1}});
    server.http.put(server.url("/users/u/profile")).json(&profile).send().await.unwrap().error_for_status().unwrap();
    let mut body = short(json!({}));
    body.as_object_mut().unwrap().remove("preference");
    body["user"] = json!("u");
    told(&server.generate(&body).await["soup"]);
}

#[tokio::test]
async fn drift_is_told_bounded_and_renormalised() {
    let server = Server::start().await;
    let policies: Value = server.get("/policies").await.json().await.unwrap();
    let norm = |i: usize| policies["policies"][i]["norm"].as_f64().unwrap();
    let one = server.generate(&short(json!({"concise": 1}))).await;
    assert!((one["soup"]["drift"].as_f64().unwrap() - norm(0)).abs() < 1e-9);
    let mut body = short(json!({"concise": 1, "friendly": 1}));
    body["merge"] = json!({"renormalize": "drift"});
    let mixed = server.generate(&body).await;
    assert!((mixed["soup"]["drift"].as_f64().unwrap() - (norm(0) + norm(1)) / 2.0).abs() < 1e-9, "{mixed}");
    assert!(mixed["soup"]["strength"].as_f64().unwrap() > 1.0);
    body["merge"]["method"] = json!("factor");
    assert_eq!(problem(server.post("/generate", &body).await).await.1, "renormalize_not_for_method");

    let bound = (0.5 * norm(0)).to_string();
    let refusing = Server::with(&[("RULES__MAX_DRIFT", &bound)]).await;
    let refused = refusing.post("/generate", &short(json!({"concise": 1}))).await;
    assert_eq!(problem(refused).await.1, "drift_exceeded");
    let shrinking = Server::with(&[("RULES__MAX_DRIFT", &bound), ("RULES__OVER_DRIFT", "shrink")]).await;
    let shrunk = shrinking.generate(&short(json!({"concise": 1}))).await;
    assert!((shrunk["soup"]["strength"].as_f64().unwrap() - 0.5).abs() < 1e-9, "{shrunk}");
    assert_eq!(shrunk["soup"]["rules"][0]["code"], "drift_exceeded");
}

#[tokio::test]
async fn a_key_has_rules_of_its_own_besides_the_configured_ones() {
    let server = Server::locked_with(&[("RULES__FORBIDDEN_PAIRS", "concise + friendly")]).await;
    let file = server.fixture.dir.path().join("rules.toml");
    let add = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&server.fixture.variables(&[]), &["keys", "add", "--name", "k", "--rules", file.to_str().unwrap()])
    };
    let (code, narrow, stderr) = add("weights = [\"friendly <= 0.5\"]\n");
    assert_eq!(code, 0, "{stderr}");
    let narrow = narrow.trim();
    let wide = server.key("generate").await;
    let ask = async |key: &str, preference: Value| {
        server.http.post(server.url("/generate")).bearer_auth(key).json(&short(preference)).send().await.unwrap()
    };
    server.until(async || ask(narrow, json!({})).await.status() == 200).await;
    assert_eq!(problem(ask(narrow, json!({"friendly": 1})).await).await.1, "weight_above_rule");
    assert_eq!(ask(&wide, json!({"friendly": 1})).await.status(), 200);
    for key in [narrow, &wide] {
        let both = ask(key, json!({"friendly": 0.5, "concise": 0.5})).await;
        assert_eq!(problem(both).await.1, "forbidden_pair");
    }
    for wrong in ["weights = [\"friendly\"]", "nonsense = 1", "max_strength = \"a\"", "= ="] {
        let (code, _, stderr) = add(wrong);
        assert_eq!(code, 64, "{wrong}");
        assert!(stderr.contains("--rules"), "{stderr}");
    }
}

#[tokio::test]
async fn rules_about_policies_that_are_not_there_stop_start_and_reload() {
    let fixture = Fixture::new();
    let variables = fixture.variables(&[("RULES__WEIGHTS", "kind >= 0.1")]);
    let (code, _, stderr) = run(&variables, &["check"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("[rules]") && stderr.contains("kind"), "{stderr}");
    let (code, _, stderr) = run(&fixture.variables(&[("RULES__WEIGHTS", "kind > 0.1")]), &["check"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("rules.weights"), "{stderr}");

    let server = Server::on(fixture, &[("RULES__WEIGHTS", "friendly <= 0.5")]).await;
    let manifest = server.fixture.pool().join("pool.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"friendly\"", "\"kind\"")).unwrap();
    let (status, code, body) = problem(server.post("/admin/pool/reload", &json!({})).await).await;
    assert_eq!((status, code.as_str()), (422, "pool_refused"), "{body}");
    assert!(startup::open(&server.app.config).is_err());
    assert_eq!(
        server.generate(&short(json!({"friendly": 0.5, "concise": 0.5}))).await["soup"]["weights"]["friendly"],
        0.5
    );
}
