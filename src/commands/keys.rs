//! `tureen keys`

use std::path::Path;

use tureen_soup::rules::{Rules, RulesText};

use crate::auth::{Key, Scopes};
use crate::cli::{Keys, KeysAdd};
use crate::config::Config;
use crate::exit::Failure;
use crate::store::{KeyRecord, NewKey, Store};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Makes, lists or revokes keys, in the store that the server uses too.
///
/// # Errors
/// 64 for values that cannot be used, 78 when the store cannot.
pub fn run(config: &Config, command: Keys) -> Result<(), Failure> {
    super::block_on(async {
        let store = Store::open(&config.store).await.map_err(Failure::config)?;
        let store = store.ok_or_else(|| Failure::Config("[store] url is empty: there is no place for keys".into()))?;
        match command {
            Keys::Add(args) => add(&store, args).await?,
            Keys::List => list(&store).await?,
            Keys::Revoke { id } => revoke(&store, &id).await?,
        }
        store.close().await;
        Ok(())
    })?
}

/// The key alone goes to standard output, so that it can be piped to where it belongs.
async fn add(store: &Store, args: KeysAdd) -> Result<(), Failure> {
    let KeysAdd { name, owner, scopes, rate_per_minute, concurrency, rules, expires_in_days } = args;
    let word = |text: &str| !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
    if !word(&name) || !word(&owner) {
        return Err(Failure::Usage("--name and --owner have 1 to 128 bytes".into()));
    }
    let key = Key::generate();
    let scopes = scopes.into_iter().collect::<Scopes>().to_string();
    let new = NewKey {
        id: key.id().to_owned(),
        owner,
        name,
        secret_sha256: key.secret_sha256(),
        scopes: scopes.clone(),
        rate_per_minute,
        concurrency,
        rules: rules.as_deref().map(read_rules).transpose()?,
        lasts_ms: expires_in_days.map(|days| i64::from(days) * DAY_MS),
    };
    store.add_key(new).await.map_err(Failure::config)?;
    println!("{}", key.reveal());
    eprintln!("key {} with the scopes {scopes}; it is not shown again", key.id());
    Ok(())
}

/// Checked before they are stored, as JSON.
fn read_rules(file: &Path) -> Result<String, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("--rules {}: {e}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| wrong(&e))?;
    let rules: RulesText = toml::from_str(&text).map_err(|e| wrong(&e))?;
    Rules::try_from(rules.clone()).map_err(|e| wrong(&e))?;
    serde_json::to_string(&rules).map_err(|e| wrong(&e))
}

async fn list(store: &Store) -> Result<(), Failure> {
    let now = crate::store::now_ms();
    println!("{:<16}  {:<8}  {:>8}  {:<16}  {:<24}  SCOPES", "ID", "STATE", "AGE/DAYS", "OWNER", "NAME");
    for key in store.keys().await.map_err(Failure::config)? {
        let days = (now - key.created_at) / DAY_MS;
        println!(
            "{:<16}  {:<8}  {days:>8}  {:<16}  {:<24}  {}",
            key.id,
            state(&key, now),
            key.owner,
            key.name,
            key.scopes
        );
    }
    Ok(())
}

fn state(key: &KeyRecord, now: i64) -> &'static str {
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ => "works",
    }
}

async fn revoke(store: &Store, id: &str) -> Result<(), Failure> {
    if store.revoke_key(id).await.map_err(Failure::config)? {
        println!("key {id} is revoked");
        return Ok(());
    }
    Err(Failure::Usage("there is no key of this id that still works; `tureen keys list` shows all".into()))
}
