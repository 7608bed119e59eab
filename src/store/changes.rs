//! Changing a profile: read, decide, and write if nobody wrote in between; once only, however often it is sent.

use sqlx::{Any, Transaction};

use super::profile::ProfileRow;
use super::{Draft, Notice, Pair, Profile, Store, StoreError, UserId, Whose, now_ms, pairs, profiles};

/// How often a change is decided anew because somebody else was faster.
const ATTEMPTS: usize = 16;

/// Which profile is changed, and how to know the same change again.
pub struct Change<'a> {
    /// Whose profiles.
    pub owner: &'a str,
    /// Whose profile.
    pub user: &'a UserId,
    /// The client's name for this change: sent again, it is answered and not done again.
    pub client_key: Option<&'a str>,
    /// What the change is, so that another one under the same name is refused.
    pub fingerprint: String,
    /// What it leaves for training. Done once, it is left once.
    pub pair: Option<&'a Pair>,
}

/// What to do with a profile.
pub enum Edit {
    /// Store this.
    Put(Draft),
    /// Remove it.
    Delete,
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There was none.
    Created(Profile),
    /// There was one.
    Updated(Profile),
    /// There is none any more.
    Deleted,
}

/// What was done, now or before.
#[derive(Debug)]
pub struct Changed {
    /// What was done.
    pub outcome: Outcome,
    /// It was done when the change was sent before.
    pub replayed: bool,
}

impl Store {
    /// Changes a profile as `decide` says, which sees it as it is and may be asked several times. When this returns, the
    /// change is on the disk.
    ///
    /// # Errors
    /// What `decide` refuses, and when the store does not answer.
    pub async fn change<E: From<StoreError>>(
        &self,
        change: &Change<'_>,
        decide: impl Fn(Option<&Profile>) -> Result<Edit, E>,
    ) -> Result<Changed, E> {
        self.within(async {
            for _ in 0..ATTEMPTS {
                let mut tx = self.begin().await?;
                if let Some(outcome) = known(&mut tx, change).await? {
                    return Ok(Changed { outcome, replayed: true });
                }
                let current = profiles::read(&mut *tx, change.owner, change.user).await?;
                let edit = decide(current.as_ref())?;
                let outcome = profiles::swap(&mut tx, (change.owner, change.user), current.as_ref(), edit).await?;
                // A transaction that is dropped is rolled back.
                let Some(outcome) = outcome else { continue };
                if remember(&mut tx, change, &outcome).await? {
                    if let Some(pair) = change.pair {
                        pairs::keep(&mut tx, (change.owner, change.user), pair).await?;
                    }
                    self.tell_on(&mut *tx, Notice::Changed(Whose::new(change.owner, change.user))).await?;
                    tx.commit().await.map_err(StoreError::from)?;
                    return Ok(Changed { outcome, replayed: false });
                }
            }
            Err(StoreError::Contended.into())
        })
        .await
    }

    /// Forgets the changes that were made before `age_ms` milliseconds ago, and tells how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_changes(&self, age_ms: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM changes WHERE created_at < $1").bind(now_ms().saturating_sub(age_ms));
        self.within(async { Ok(query.execute(&self.writes).await?.rows_affected()) }).await
    }
}

async fn known(tx: &mut Transaction<'_, Any>, change: &Change<'_>) -> Result<Option<Outcome>, StoreError> {
    let Some(client_key) = change.client_key else { return Ok(None) };
    let query =
        sqlx::query_as("SELECT fingerprint, outcome, profile FROM changes WHERE owner = $1 AND client_key = $2");
    let row: Option<(String, String, Option<String>)> =
        query.bind(change.owner).bind(client_key).fetch_optional(&mut **tx).await?;
    let Some((fingerprint, word, profile)) = row else { return Ok(None) };
    if fingerprint != change.fingerprint {
        return Err(StoreError::ClientKeyReused);
    }
    let row: Option<ProfileRow> = profile.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?;
    let profile = row.map(Profile::try_from).transpose()?;
    match (word.as_str(), profile) {
        ("created", Some(profile)) => Ok(Some(Outcome::Created(profile))),
        ("updated", Some(profile)) => Ok(Some(Outcome::Updated(profile))),
        ("deleted", None) => Ok(Some(Outcome::Deleted)),
        _ => Err(unreadable("an unknown outcome")),
    }
}

fn unreadable(what: impl std::fmt::Display) -> StoreError {
    StoreError::Row(format!("a remembered change: {what}"))
}

/// False when the same key was used meanwhile.
async fn remember(tx: &mut Transaction<'_, Any>, change: &Change<'_>, outcome: &Outcome) -> Result<bool, StoreError> {
    let Some(client_key) = change.client_key else { return Ok(true) };
    let (word, profile) = match outcome {
        Outcome::Created(profile) => ("created", Some(profile)),
        Outcome::Updated(profile) => ("updated", Some(profile)),
        Outcome::Deleted => ("deleted", None),
    };
    let profile =
        profile.map(ProfileRow::from).map(|row| serde_json::to_string(&row)).transpose().map_err(unreadable)?;
    let query = sqlx::query(
        "INSERT INTO changes (owner, client_key, user_id, fingerprint, outcome, profile, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, client_key) DO NOTHING",
    );
    let query = query.bind(change.owner).bind(client_key).bind(change.user.as_str()).bind(&change.fingerprint);
    let done = query.bind(word).bind(profile).bind(now_ms()).execute(&mut **tx).await?;
    Ok(done.rows_affected() == 1)
}
