//! Bringing the tables to this version's form. A released file is never changed: what comes later gets a new number.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, SqlSafeStr};

use super::{Kind, StoreError};

const SQLITE: [&str; 8] = [
    include_str!("migrations/1_sqlite.sql"),
    include_str!("migrations/2_sqlite.sql"),
    include_str!("migrations/3_sqlite.sql"),
    include_str!("migrations/4_sqlite.sql"),
    include_str!("migrations/5_sqlite.sql"),
    include_str!("migrations/6_sqlite.sql"),
    include_str!("migrations/7_sqlite.sql"),
    include_str!("migrations/8_sqlite.sql"),
];
const POSTGRES: [&str; 8] = [
    include_str!("migrations/1_postgres.sql"),
    include_str!("migrations/2_postgres.sql"),
    include_str!("migrations/3_postgres.sql"),
    include_str!("migrations/4_postgres.sql"),
    include_str!("migrations/5_postgres.sql"),
    include_str!("migrations/6_postgres.sql"),
    include_str!("migrations/7_postgres.sql"),
    include_str!("migrations/8_postgres.sql"),
];

/// Runs what is missing, each file in a transaction. Refuses a database that a newer version wrote.
pub(super) async fn run(kind: Kind, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let files = match kind {
        Kind::Sqlite => SQLITE,
        Kind::Postgres => POSTGRES,
    };
    let migration = |(version, sql): (i64, &'static str)| {
        Migration::new(version, "tureen".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrations = (1..).zip(files).map(migration).collect();
    Ok(Migrator::with_migrations(migrations).run(connection).await?)
}
