//! What people say and what opens doors is found nowhere it does not belong, whatever is logged.

use crate::canary::{MARK, say};
use crate::common::Fixture;
use crate::process::{Running, run};

#[test]
fn nothing_that_was_said_is_in_logs_metrics_and_audit() {
    let fixture = Fixture::new();
    let audit = fixture.dir.path().join("audit").display().to_string();
    let settings = [
        ("LOG__FILTER", "trace"),
        ("AUTH__REQUIRE_KEYS", "always"),
        ("AUDIT__DIR", &audit),
        ("AUDIT__KEY", "canary-secret-of-thirty-two-bytes-or-more"),
        ("AUDIT__SEGMENT", "1MiB"),
        // Texts are in the store: what is looked at is whether they leave it.
        ("LEARNING__PAIRS_DAYS", "30"),
        ("SERVER__SHUTDOWN_GRACE_MS", "500"),
    ];
    let mut variables = fixture.variables(&settings);
    variables.push(("RUST_LOG".into(), "trace".into()));
    let scopes = "generate,profiles:read,profiles:write,feedback,admin,metrics";
    let (code, key, log_of_keys) = run(&variables, &["keys", "add", "--name", "all", "--scopes", scopes]);
    assert_eq!(code, 0, "{log_of_keys}");
    let key = key.trim();

    let mut server = Running::start(&variables);
    let log = server.read_log();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (secrets, metrics) = runtime.block_on(async {
        let secrets = say(&server.url, key).await;
        let metrics = reqwest::Client::new().get(format!("{}/metrics", server.url)).bearer_auth(key).send().await;
        (secrets, metrics.unwrap().error_for_status().unwrap().text().await.unwrap())
    });
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    let log = log.join().unwrap();
    // The commands that read what was said log no more of it than the server does.
    let (code, pairs, log_of_export) = run(&variables, &["feedback", "export"]);
    assert_eq!((code, pairs.as_str()), (0, ""), "they were erased with their user");
    let (code, verified, log_of_verify) = run(&variables, &["audit", "verify"]);
    assert_eq!(code, 0, "{log_of_verify}");
    let audited: String =
        std::fs::read_dir(&audit).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();

    assert!(
        log.contains("TRACE") && log.contains("answered") && log.contains("INSERT INTO pairs"),
        "all of it is there"
    );
    assert!(audited.matches("\"kind\":\"generation\"").count() >= 3 && metrics.contains("tureen_http_requests_total"));
    for (place, text) in [
        ("the log", &log),
        ("the metrics", &metrics),
        ("the audit log", &audited),
        ("the log of keys add", &log_of_keys),
        ("the log of feedback export", &log_of_export),
        ("the output of audit verify", &verified),
        ("the log of audit verify", &log_of_verify),
    ] {
        let mark = [MARK.to_owned()];
        for secret in secrets.iter().chain(&mark) {
            let leaks: Vec<_> = text.lines().filter(|line| line.contains(secret.as_str())).collect();
            assert!(leaks.is_empty(), "{place} holds {secret:?}:\n{leaks:#?}");
        }
    }
}
