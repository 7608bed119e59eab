//! The store on SQLite.

#![allow(clippy::unwrap_used)]

mod suite;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use tureen::config::Config;
use tureen::store::{Store, StoreError};

async fn open(file: &Path) -> Result<Store, StoreError> {
    let url = format!("sqlite://{}", file.display());
    let variables = [("TUREEN__STORE__URL", url.as_str()), ("TUREEN__STORE__TIMEOUT_MS", "60000")];
    let config = Config::load(None, variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    Store::open(&config.store).await.map(Option::unwrap)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_behaves() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("tureen.db")).await.unwrap();
    suite::all(&store).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a folder").join("tureen.db");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let first = open(&file).await.unwrap();
    suite::put(&first, "o", "u", "a=1").await;
    let written = first.profile("o", &suite::user("u")).await.unwrap();
    first.close().await;
    let second = open(&file).await.unwrap();
    assert_eq!(second.profile("o", &suite::user("u")).await.unwrap(), written);
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_replaces_anything() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("tureen.db")).await.unwrap();
    for i in 0..200 {
        suite::put(&store, "o", &format!("u-{i}"), "a=1").await;
    }
    let target = dir.path().join("copy.db");
    let (copied, ()) = tokio::join!(store.backup(&target), async {
        for i in 0..50 {
            suite::put(&store, "o", &format!("later-{i}"), "a=1").await;
        }
    });
    copied.unwrap();
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o077, 0);
    let copy = open(&target).await.unwrap();
    for i in 0..200 {
        assert!(copy.profile("o", &suite::user(&format!("u-{i}"))).await.unwrap().is_some());
    }
    copy.close().await;
    let before = std::fs::read(&target).unwrap();
    assert!(store.backup(&target).await.is_err());
    assert_eq!(std::fs::read(&target).unwrap(), before);
    assert!(store.backup(&dir.path().join("no/such/folder/copy.db")).await.is_err());
    let parts =
        std::fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "part");
    assert_eq!(parts.count(), 0);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tureen.db");
    open(&file).await.unwrap().close().await;
    let other = sqlx::AnyPool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'later', TRUE, x'00', 0)",
    )
    .execute(&other)
    .await
    .unwrap();
    other.close().await;
    assert!(matches!(open(&file).await.unwrap_err(), StoreError::Migration(_)));
}

/// The seventh version kept profiles in a table WITHOUT ROWID.
#[tokio::test]
async fn a_store_of_an_older_version_keeps_its_profiles_and_forgets_what_is_erased() {
    const OLD: [&str; 7] = [
        include_str!("../../src/store/migrations/1_sqlite.sql"),
        include_str!("../../src/store/migrations/2_sqlite.sql"),
        include_str!("../../src/store/migrations/3_sqlite.sql"),
        include_str!("../../src/store/migrations/4_sqlite.sql"),
        include_str!("../../src/store/migrations/5_sqlite.sql"),
        include_str!("../../src/store/migrations/6_sqlite.sql"),
        include_str!("../../src/store/migrations/7_sqlite.sql"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tureen.db");
    std::fs::File::create(&file).unwrap();
    sqlx::any::install_default_drivers();
    let old = sqlx::AnyPool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let migration = |(version, sql): (i64, &'static str)| {
        Migration::new(version, "tureen".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(OLD).map(migration).collect()).run(&old).await.unwrap();
    for user in ["u-2", "u-1"] {
        let insert = "INSERT INTO profiles (owner, user_id, preference, merge, etag, created_at, updated_at) \
                      VALUES ('o', $1, $2, '{}', 'e', 1, 2)";
        sqlx::query(insert).bind(user).bind(format!("of-{user}=0.25")).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = open(&file).await.unwrap();
    let kept = store.profile("o", &suite::user("u-1")).await.unwrap().unwrap();
    assert_eq!(kept.draft.preference.to_string(), "of-u-1=0.25");
    assert_eq!((kept.created_at, kept.updated_at), (1, 2));
    let users = store.users("o", None, 9).await.unwrap().users;
    assert_eq!(users, [("u-1".to_owned(), 2), ("u-2".to_owned(), 2)]);
    store.erase("o", &suite::user("u-1")).await.unwrap();
    store.close().await;
    let bytes = std::fs::read(&file).unwrap();
    let found = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(found("of-u-2=0.25") && !found("of-u-1=0.25"), "what was erased stands in the file");
}

#[tokio::test]
async fn a_store_that_somebody_else_holds_is_late_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tureen.db");
    let url = format!("sqlite://{}", file.display());
    let variables = [("TUREEN__STORE__URL", url.as_str()), ("TUREEN__STORE__TIMEOUT_MS", "200")];
    let config = Config::load(None, variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    let store = Store::open(&config.store).await.unwrap().unwrap();
    let other = sqlx::AnyPool::connect(&url).await.unwrap();
    let lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let begun = std::time::Instant::now();
    assert!(suite::try_put(&store, "o", "u", "a=1").await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "it does not wait for whoever holds the lock");
    lock.rollback().await.unwrap();
    suite::put(&store, "o", "u", "a=1").await;
}
