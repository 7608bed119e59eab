//! A store full of profiles that choices have taught.

use std::path::PathBuf;

use sqlx::Connection;
use tempfile::TempDir;
use tureen::config::Config;
use tureen::store::{Store, UserId};
use tureen_soup::MergeOptions;
use tureen_soup::learn::{Learning, Taste};

pub(crate) const OWNER: &str = "default";
const POLICIES: [&str; 6] = ["elementary", "expert", "concise", "informative", "friendly", "unfriendly"];

pub(crate) struct Filled {
    pub(crate) store: Store,
    pub(crate) profiles: u64,
    dir: TempDir,
}

impl Filled {
    /// `profiles` of them, each with what is known after some choices over six policies.
    pub(crate) async fn new(profiles: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", file(&dir).display());
        // Other settings, such as TUREEN__STORE__MAX_CONNECTIONS, from whoever compares them.
        let settings = std::env::vars().filter(|(name, _)| name.starts_with("TUREEN__STORE__"));
        let url_of_this = ("TUREEN__STORE__URL".to_owned(), url.clone());
        let config = Config::load(None, settings.chain([url_of_this])).unwrap();
        // Makes the tables.
        let store = Store::open(&config.store).await.unwrap().unwrap();
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        let merge = serde_json::to_string(&MergeOptions::default()).unwrap();
        let fill = sqlx::query(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1) \
             INSERT INTO profiles (owner, user_id, preference, merge, etag, created_at, updated_at, learned) \
             SELECT $2, printf('u-%07d', i), 'concise=0.6,friendly=0.4', $3, printf('%032x', i), 0, 0, $4 FROM n",
        );
        let fill = fill.bind(i64::try_from(profiles).unwrap()).bind(OWNER).bind(merge).bind(learned());
        fill.execute(&mut connection).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self { store, profiles, dir }
    }

    /// One of the users, by a number that may be any.
    pub(crate) fn user(&self, number: u64) -> UserId {
        UserId::new(&format!("u-{:07}", number % self.profiles)).unwrap()
    }

    /// What the figures were measured with.
    pub(crate) fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |m| m.1);
        let megabytes = file(&self.dir).metadata().unwrap().len() / 1_000_000;
        format!("{cores} cores, {model}; {} profiles in {megabytes} MB of SQLite", self.profiles)
    }
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("tureen.db")
}

fn learned() -> String {
    let learning = Learning::default();
    let mut taste = Taste::new(POLICIES.map(str::to_owned).to_vec(), &[1.0 / 6.0; 6], &learning);
    for turn in 0..4 {
        let gains: Vec<f64> = (0..6).map(|policy| f64::from((policy * 7 + turn * 5) % 11) - 5.0).collect();
        taste.learn(&gains, 1.0, &learning);
    }
    serde_json::to_string(&taste).unwrap()
}
