//! A server on port 0 with a tiny base and a pool of two policies.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tureen::app::App;
use tureen::auth::Key;
use tureen::config::Config;
use tureen::store::{NewKey, Store};
use tureen::{rollout, serve, startup};

/// Nothing in these tests takes longer, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A base and a pool on disk.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        crate::fixture::write(&dir.path().join("base"), &dir.path().join("pool"));
        Self { dir }
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("tureen.db")
    }

    fn store_url(&self) -> String {
        format!("sqlite://{}", self.store().display())
    }

    /// The variables that point a server here, and `more`.
    pub(crate) fn variables(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let path = |p: &Path| p.display().to_string();
        let own = [
            ("TUREEN__BASE__PATH", path(&self.base())),
            ("TUREEN__POOL__DIR", path(&self.pool())),
            ("TUREEN__SERVER__BIND", "127.0.0.1:0".to_owned()),
            ("TUREEN__STORE__URL", self.store_url()),
            ("TUREEN__ENGINE__THREADS", "1".to_owned()),
            ("TUREEN__ENGINE__MEMORY_BUDGET", "256MiB".to_owned()),
        ];
        let more = more.iter().map(|(k, v)| (format!("TUREEN__{k}"), (*v).to_owned()));
        own.into_iter().map(|(k, v)| (k.to_owned(), v)).chain(more).collect()
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) fixture: Fixture,
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    pub(crate) http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), serve::ServeError>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these settings, `SECTION__KEY` and value.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(Fixture::new(), settings).await
    }

    /// On a base, pool and store that are there already.
    pub(crate) async fn on(fixture: Fixture, settings: &[(&str, &str)]) -> Self {
        let config = Config::load(None, fixture.variables(settings)).unwrap();
        let (store, auth) = startup::open_store(&config).await.unwrap();
        let (base, pool) = startup::open(&config).unwrap();
        let engine = startup::start_engine(&config, base, pool).unwrap();
        let audit = startup::open_audit(&config).unwrap();
        let tls = startup::open_tls(&config).unwrap();
        let app = App::new(engine, config, store, auth, audit);
        rollout::resume(&app).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve::serve(listener, app.clone(), tls, async move {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        }));
        Self { fixture, address, app, http: reqwest::Client::new(), stop: Some(stop), task }
    }

    /// One that asks for keys.
    pub(crate) async fn locked() -> Self {
        Self::locked_with(&[]).await
    }

    /// One that asks for keys, with these settings.
    pub(crate) async fn locked_with(settings: &[(&str, &str)]) -> Self {
        Self::locked_on(Fixture::new(), settings).await
    }

    /// One that asks for keys, on a base and pool that are there already.
    pub(crate) async fn locked_on(fixture: Fixture, settings: &[(&str, &str)]) -> Self {
        let always = [("AUTH__REQUIRE_KEYS", "always")];
        // A server without any key does not start; this one is never used.
        let config = Config::load(None, fixture.variables(&[])).unwrap();
        let store = Store::open(&config.store).await.unwrap().unwrap();
        add_key(&store, "", "nobody").await;
        store.close().await;
        Self::on(fixture, &[&always, settings].concat()).await
    }

    /// A new key that works already.
    pub(crate) async fn key(&self, scopes: &str) -> String {
        self.key_of("default", scopes).await
    }

    /// A new key of `owner` that works already.
    pub(crate) async fn key_of(&self, owner: &str, scopes: &str) -> String {
        let store = self.app.store.as_ref().unwrap();
        let key = add_key(store, scopes, owner).await;
        self.app.auth.refresh(store).await.unwrap();
        key
    }

    /// Waits until `condition` is true.
    pub(crate) async fn until(&self, condition: impl AsyncFn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < end, "it does not come true");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.http.post(self.url(path)).json(body).send().await.unwrap()
    }

    /// A body as it is, announced as JSON.
    pub(crate) async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.http.post(self.url(path)).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }

    /// `POST /generate` that must work.
    pub(crate) async fn generate(&self, body: &Value) -> Value {
        let response = self.post("/generate", body).await;
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// One value of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until a value of `/metrics` is `wanted`.
    pub(crate) async fn until_metric(&self, name: &str, wanted: f64) {
        let end = Instant::now() + PATIENCE;
        loop {
            let got = self.metric(name).await;
            if got == Some(wanted) {
                return;
            }
            assert!(Instant::now() < end, "{name} stays {got:?}, wanted {wanted}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What SIGTERM does.
    pub(crate) fn begin_shutdown(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of the server and tells how long it took.
    pub(crate) async fn stopped(self) -> Duration {
        let begun = Instant::now();
        self.stopped_leaving().await;
        begun.elapsed()
    }

    /// Waits for the end of the server, and leaves what it had on disk.
    pub(crate) async fn stopped_leaving(self) -> Fixture {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap().unwrap();
        self.fixture
    }
}

async fn add_key(store: &Store, scopes: &str, owner: &str) -> String {
    let key = Key::generate();
    let new = NewKey {
        id: key.id().to_owned(),
        owner: owner.to_owned(),
        name: "test".to_owned(),
        secret_sha256: key.secret_sha256(),
        scopes: scopes.to_owned(),
        rate_per_minute: None,
        concurrency: None,
        rules: None,
        lasts_ms: None,
    };
    store.add_key(new).await.unwrap();
    key.reveal()
}

/// A body for `/generate` that is decided and short.
pub(crate) fn short(preference: Value) -> Value {
    json!({"inputs": "hello", "preference": preference, "parameters": {"max_new_tokens": 4, "ignore_eos": true}})
}

/// A body for `/generate` that streams for long: drawn from nearly all tokens, since what repeats itself is drafted.
pub(crate) fn long_stream() -> Value {
    json!({
        "inputs": "hello",
        "preference": {"concise": 1.0},
        "parameters": {"max_new_tokens": 400, "ignore_eos": true, "temperature": 2.0, "seed": 1},
        "stream": true
    })
}

/// Takes a refused answer apart: status, code and the whole problem.
pub(crate) async fn problem(response: reqwest::Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(kind, "application/problem+json", "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], id);
    (status, body["code"].as_str().unwrap().to_owned(), body)
}

/// The events of a finished stream: name (empty when unnamed) and data.
pub(crate) fn events(body: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        let data = field("data:")?;
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
        Some((field("event:").unwrap_or("").to_owned(), data))
    };
    body.split("\n\n").filter_map(event).collect()
}
