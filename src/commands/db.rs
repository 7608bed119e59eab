//! `tureen db`

use crate::cli::Db;
use crate::config::Config;
use crate::exit::Failure;
use crate::store::Store;

/// Copies the store.
///
/// # Errors
/// 64 when the copy cannot be made there, 78 when the store cannot be used.
pub fn run(config: &Config, command: &Db) -> Result<(), Failure> {
    let Db::Backup { file } = command;
    super::block_on(async {
        let store = Store::open(&config.store).await.map_err(Failure::config)?;
        let store = store.ok_or_else(|| Failure::Config("[store] url is empty: there is nothing to copy".into()))?;
        store.backup(file).await.map_err(Failure::usage)?;
        store.close().await;
        println!("{} is a checked copy of the store", file.display());
        Ok(())
    })?
}
