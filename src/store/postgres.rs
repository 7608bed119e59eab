//! Opening PostgreSQL.

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::notices::Place;
use super::{Kind, Store, StoreError, migrations};
use crate::config;

pub(super) async fn open(url: &str, config: &config::Store) -> Result<Store, StoreError> {
    // The parser's message may quote the URL, and with it a password.
    let wrong = |_| StoreError::Url("write postgres://USER:PASSWORD@HOST/DATABASE".into());
    let options: AnyConnectOptions = url.parse().map_err(wrong)?;
    let listening = url.parse().map_err(wrong)?;
    let mut connection =
        tokio::time::timeout(config.timeout, options.connect()).await.map_err(|_| StoreError::Late)??;
    migrations::run(Kind::Postgres, &mut connection).await?;
    connection.close().await?;
    let patience = config.timeout;
    let pool = AnyPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(patience)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                // A statement that nobody waits for any more must not hold a connection.
                let ms = patience.as_millis();
                let settings = format!("SET statement_timeout = {ms}; SET synchronous_commit = on");
                sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Ok(Store { reads: pool.clone(), writes: pool, kind: Kind::Postgres, place: Some(Place::new(listening)), patience })
}
