//! `config.toml`, a file and the environment.

use std::path::Path;
use std::time::Duration;

use tureen::config::{Config, ConfigError};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_shipped_file_is_valid() {
    let config = Config::load(None, []).unwrap();
    assert_eq!(config.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.pool.dir.as_deref(), Some(Path::new("policies")));
    assert_eq!((config.engine.memory_budget, config.engine.prefix_cache), (2 << 30, 512 << 20));
    assert!(config.engine.threads >= 1);
    assert!(config.admin_token.is_none());
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = file("[server]\nbind = \"127.0.0.1:1\"\nkeep_alive_ms = 7\n");
    let config = Config::load(Some(file.path()), env(&[("TUREEN__SERVER__BIND", "127.0.0.1:2")])).unwrap();
    assert_eq!(config.server.bind.port(), 2);
    assert_eq!(config.server.keep_alive, Duration::from_millis(7));
    assert_eq!(config.server.header_timeout, Duration::from_secs(10));
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    let defaults: toml::Table = tureen::config::DEFAULTS.parse().unwrap();
    for (section, keys) in &defaults {
        for (key, value) in keys.as_table().unwrap() {
            let text = match value {
                toml::Value::String(s) => s.clone(),
                toml::Value::Array(items) => items.iter().filter_map(|i| i.as_str()).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            };
            let name = format!("TUREEN__{section}__{key}").to_uppercase();
            Config::load(None, [(name.clone(), text)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

#[test]
fn other_variables_are_not_ours() {
    Config::load(None, env(&[("TUREEN_TEST_BASE", "x"), ("PATH", "y"), ("TUREEN", "z")])).unwrap();
}

#[test]
fn unknown_keys_are_refused_with_the_known_ones() {
    for (name, value) in [("TUREEN__SERVER__PORT", "1"), ("TUREEN__SERVR__BIND", "1"), ("TUREEN__BIND", "1")] {
        let error = Config::load(None, env(&[(name, value)])).unwrap_err();
        assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    for text in ["[server]\nport = 1\n", "[nonsense]\n", "bind = 1\n"] {
        let error = Config::load(Some(file(text).path()), []).unwrap_err();
        assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error}");
    }
    let error = Config::load(None, env(&[("TUREEN__SERVER__PORT", "1")])).unwrap_err().to_string();
    assert!(error.contains("bind"), "{error}");
}

#[test]
fn impossible_values_are_refused_and_named() {
    let cases = [
        ("TUREEN__SERVER__BIND", "nowhere", "server.bind"),
        ("TUREEN__SERVER__KEEP_ALIVE_MS", "0", "server.keep_alive_ms"),
        ("TUREEN__SERVER__KEEP_ALIVE_MS", "-1", "server.keep_alive_ms"),
        ("TUREEN__SERVER__KEEP_ALIVE_MS", "soon", "server.keep_alive_ms"),
        ("TUREEN__ENGINE__PRECISION", "f64", "engine.precision"),
        ("TUREEN__ENGINE__ISA", "z80", "engine.isa"),
        ("TUREEN__ENGINE__MEMORY_BUDGET", "lots", "engine.memory_budget"),
        ("TUREEN__ENGINE__MEMORY_BUDGET", "99999999999GiB", "engine.memory_budget"),
        ("TUREEN__ENGINE__MAX_BATCH_ROWS", "0", "engine.max_batch_rows"),
        ("TUREEN__LIMITS__DEFAULT_NEW_TOKENS", "5000", "limits.default_new_tokens"),
        ("TUREEN__POOL__WEIGHTS", "borrowed", "pool.weights"),
        ("TUREEN__LOG__FORMAT", "xml", "log.format"),
        ("TUREEN__BASE__SOURCES", "ftp:x", "base.sources"),
        ("TUREEN__AUTH__REQUIRE_KEYS", "never", "auth.require_keys"),
        ("TUREEN__AUTH__CONCURRENCY", "-1", "auth.concurrency"),
        ("TUREEN__STORE__TIMEOUT_MS", "0", "store.timeout_ms"),
        ("TUREEN__STORE__MAX_CONNECTIONS", "0", "store.max_connections"),
    ];
    for (name, value, named) in cases {
        let error = Config::load(None, env(&[(name, value)])).unwrap_err().to_string();
        assert!(error.contains(named), "{name}={value}: {error}");
    }
    let error = Config::load(Some(file("[server]\nkeep_alive_ms = \"5\"\n").path()), []).unwrap_err().to_string();
    assert!(error.contains("server.keep_alive_ms") && error.contains("whole number"), "{error}");
}

#[test]
fn a_secret_is_never_shown() {
    for (name, value) in
        [("TUREEN__ADMIN__TOKEN", "canary-token"), ("TUREEN__STORE__URL", "postgres://tureen:canary@localhost/tureen")]
    {
        let config = Config::load(None, env(&[(name, value)])).unwrap();
        assert!(!format!("{config:?}").contains("canary"));
    }
    // Set under a key that wants a number, the value is not repeated either.
    let error = Config::load(None, env(&[("TUREEN__LIMITS__MAX_WAITING", "canary-token")])).unwrap_err();
    assert!(!error.to_string().contains("canary"));
}

#[test]
fn nothing_is_kept_for_prompts_to_come_when_the_file_says_so() {
    let file = file("[engine]\nprefix_cache = \"0\"\n");
    assert_eq!(Config::load(Some(file.path()), []).unwrap().engine.prefix_cache, 0);
}

#[test]
fn checks_come_from_sections_of_the_file_and_from_a_variable() {
    use tureen::guard::Side;
    assert!(!Config::load(None, []).unwrap().guard.chain.covers(Side::Output));
    let file = file(
        "[[guard.checks]]\nname = \"a\"\nkind = \"words\"\naction = \"block\"\non = \"output\"\nwords = [\"x\"]\n",
    );
    let config = Config::load(Some(file.path()), []).unwrap();
    assert!(config.guard.chain.covers(Side::Output) && !config.guard.chain.covers(Side::Input));
    let list = r#"[{name = "a", kind = "pii", action = "redact", on = "input"}]"#;
    let config = Config::load(Some(file.path()), env(&[("TUREEN__GUARD__CHECKS", list)])).unwrap();
    assert!(config.guard.chain.covers(Side::Input) && !config.guard.chain.covers(Side::Output));
    let sources =
        Config::load(None, env(&[("TUREEN__BASE__SOURCES", r#"["pypi:a,b", "hf:c"]"#)])).unwrap().base.sources;
    assert_eq!(sources, ["pypi:a,b", "hf:c"]);
    for wrong in ["[1", "[]\nx = 1", "[1]"] {
        assert!(Config::load(None, env(&[("TUREEN__GUARD__CHECKS", wrong)])).is_err(), "{wrong}");
    }
}
