//! Opening and copying a SQLite database.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection};

use super::{Kind, Store, StoreError, migrations};
use crate::config;

const PREFIX: &str = "sqlite://";

pub(super) async fn open(url: &str, config: &config::Store) -> Result<Store, StoreError> {
    let path = url.strip_prefix(PREFIX).filter(|path| !path.is_empty() && !path.contains(['?', '#', '%']));
    let path = path.ok_or_else(|| StoreError::Url(format!("write {PREFIX}PATH, where PATH has no ?, # or %")))?;
    create(Path::new(path)).map_err(|e| StoreError::Url(format!("{path} cannot be opened: {e}")))?;
    let options = options(Path::new(path))?;
    let mut first = options.connect().await?;
    // Readers and a writer at the same time; the mode stays with the file.
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut first).await?;
    // A table that a migration builds anew must leave no copy of its rows: they would outlive an erasure.
    sqlx::raw_sql("PRAGMA secure_delete = ON").execute(&mut first).await?;
    check(&mut first).await?;
    migrations::run(Kind::Sqlite, &mut first).await?;
    first.close().await?;
    let patience = config.timeout;
    let pool = |most: u32, own: &'static str| {
        // FULL: a commit that was acknowledged is on the disk. secure_delete: what was erased is overwritten.
        let pragmas = format!(
            "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; {own}",
            patience.as_millis()
        );
        AnyPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(patience)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let pragmas = AssertSqlSafe(pragmas.clone());
                Box::pin(async move {
                    sqlx::raw_sql(pragmas).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone())
    };
    let reads = pool(config.max_connections, "PRAGMA query_only = ON");
    Ok(Store { reads, writes: pool(1, ""), kind: Kind::Sqlite, place: None, patience })
}

/// By its absolute path: of a relative one, the first folder would be read as the name of a host.
fn options(path: &Path) -> Result<AnyConnectOptions, StoreError> {
    let absolute = std::path::absolute(path).map_err(|e| StoreError::Url(e.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| StoreError::Url("the path must be UTF-8".into()))?;
    Ok(format!("{PREFIX}{text}").parse()?)
}

/// An empty file is an empty database. It holds what people told about themselves: nobody else may read it.
fn create(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

async fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(connection).await?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(found)) }
}

/// One consistent snapshot, beside running writers. `target` appears whole and checked, or not at all.
pub(super) async fn backup(source: &AnyPool, target: &Path) -> Result<(), StoreError> {
    let refused = |e: io::Error| StoreError::Url(format!("{} cannot be written: {e}", target.display()));
    if target.exists() {
        return Err(refused(io::ErrorKind::AlreadyExists.into()));
    }
    let part = part_of(target);
    create(&part).map_err(refused)?;
    let copied = copy(source, &part).await;
    let named = match copied {
        Ok(()) => place(&part, target).map_err(refused),
        Err(error) => Err(error),
    };
    if named.is_err() {
        // Nothing more can be done about a file that cannot be removed; the error tells why there is one.
        let _ = std::fs::remove_file(&part);
    }
    named
}

async fn copy(source: &AnyPool, part: &Path) -> Result<(), StoreError> {
    let path = part.to_str().ok_or_else(|| StoreError::Url("the path of a backup must be UTF-8".into()))?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(source).await?;
    let mut written = options(part)?.connect().await?;
    check(&mut written).await?;
    Ok(written.close().await?)
}

/// On the disk first, under its name then.
fn place(part: &Path, target: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    // A hard link fails where something stands already; a rename would replace it.
    std::fs::hard_link(part, target)?;
    std::fs::remove_file(part)?;
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
