//! Reading, listing and erasing profiles. What changes one is in [`super::changes`].

use sqlx::{Any, Executor, Transaction};

use super::profile::ProfileRow;
use super::{Draft, Edit, Notice, Outcome, Profile, Store, StoreError, UserId, Whose, now_ms};

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// Names and the times of their last change, in milliseconds since 1970, ordered by the names' bytes.
    pub users: Vec<(String, i64)>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// What was erased.
#[derive(Debug, PartialEq, Eq)]
pub struct Erased {
    /// Profiles: 0 or 1.
    pub profiles: u64,
    /// Remembered changes; see [`super::Change::client_key`].
    pub changes: u64,
    /// Preference pairs that feedback left.
    pub pairs: u64,
    /// Answers of the last hour to requests that named the user.
    pub answers: u64,
    /// What checks had held.
    pub reviews: u64,
}

impl Store {
    /// The profile of `user`, as `owner` keeps it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn profile(&self, owner: &str, user: &UserId) -> Result<Option<Profile>, StoreError> {
        self.within(read(&self.reads, owner, user)).await
    }

    /// At most `limit` users behind `after`, or from the first one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn users(&self, owner: &str, after: Option<&UserId>, limit: u32) -> Result<Page, StoreError> {
        let query = sqlx::query_as(
            "SELECT user_id, updated_at FROM profiles WHERE owner = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        );
        let query =
            query.bind(owner.to_owned()).bind(after.map_or("", UserId::as_str).to_owned()).bind(i64::from(limit) + 1);
        let mut users: Vec<(String, i64)> =
            self.within(async { Ok::<_, StoreError>(query.fetch_all(&self.reads).await?) }).await?;
        let more = users.len() > limit as usize;
        users.truncate(limit as usize);
        Ok(Page { users, more })
    }

    /// Removes everything that is kept about `user`.
    ///
    /// # Errors
    /// When the store does not answer; then nothing was removed, or everything.
    pub async fn erase(&self, owner: &str, user: &UserId) -> Result<Erased, StoreError> {
        self.within(async {
            let mut tx = self.begin().await?;
            let mut counts = [0; 5];
            let statements = [
                "DELETE FROM profiles WHERE owner = $1 AND user_id = $2",
                "DELETE FROM changes WHERE owner = $1 AND user_id = $2",
                "DELETE FROM pairs WHERE owner = $1 AND user_id = $2",
                "DELETE FROM answers WHERE owner = $1 AND user_id = $2",
                "DELETE FROM reviews WHERE owner = $1 AND user_id = $2",
            ];
            for (count, statement) in counts.iter_mut().zip(statements) {
                let query = sqlx::query(statement).bind(owner).bind(user.as_str());
                *count = query.execute(&mut *tx).await?.rows_affected();
            }
            self.tell_on(&mut *tx, Notice::Erased(Whose::new(owner, user))).await?;
            tx.commit().await?;
            let [profiles, changes, pairs, answers, reviews] = counts;
            Ok(Erased { profiles, changes, pairs, answers, reviews })
        })
        .await
    }
}

pub(super) async fn read(
    on: impl Executor<'_, Database = Any>,
    owner: &str,
    user: &UserId,
) -> Result<Option<Profile>, StoreError> {
    let query = sqlx::query_as(
        "SELECT preference, merge, learned, etag, created_at, updated_at FROM profiles WHERE owner = $1 AND user_id = $2",
    );
    let row: Option<ProfileRow> = query.bind(owner).bind(user.as_str()).fetch_optional(on).await?;
    row.map(Profile::try_from).transpose()
}

/// Writes `edit` if the profile is still `current`; `None` when somebody else was faster.
pub(super) async fn swap(
    tx: &mut Transaction<'_, Any>,
    (owner, user): (&str, &UserId),
    current: Option<&Profile>,
    edit: Edit,
) -> Result<Option<Outcome>, StoreError> {
    match (current, edit) {
        (None, Edit::Delete) => Ok(Some(Outcome::Deleted)),
        (Some(current), Edit::Delete) => {
            let query = sqlx::query("DELETE FROM profiles WHERE owner = $1 AND user_id = $2 AND etag = $3");
            let done = query.bind(owner).bind(user.as_str()).bind(&current.etag).execute(&mut **tx).await?;
            Ok((done.rows_affected() == 1).then_some(Outcome::Deleted))
        }
        (None, Edit::Put(draft)) => {
            let profile = successor(None, draft);
            let row = ProfileRow::from(&profile);
            let query = sqlx::query(
                "INSERT INTO profiles (owner, user_id, preference, merge, etag, created_at, updated_at, learned) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner, user_id) DO NOTHING",
            );
            let query = query.bind(owner).bind(user.as_str()).bind(row.preference).bind(row.merge).bind(row.etag);
            let query = query.bind(row.created_at).bind(row.updated_at).bind(row.learned);
            let done = query.execute(&mut **tx).await?;
            Ok((done.rows_affected() == 1).then_some(Outcome::Created(profile)))
        }
        (Some(current), Edit::Put(draft)) => {
            let profile = successor(Some(current), draft);
            let row = ProfileRow::from(&profile);
            let query = sqlx::query(
                "UPDATE profiles SET preference = $1, merge = $2, etag = $3, updated_at = $4, learned = $5 \
                 WHERE owner = $6 AND user_id = $7 AND etag = $8",
            );
            let query =
                query.bind(row.preference).bind(row.merge).bind(row.etag).bind(row.updated_at).bind(row.learned);
            let done = query.bind(owner).bind(user.as_str()).bind(&current.etag).execute(&mut **tx).await?;
            Ok((done.rows_affected() == 1).then_some(Outcome::Updated(profile)))
        }
    }
}

fn successor(current: Option<&Profile>, draft: Draft) -> Profile {
    let now = now_ms();
    // A clock that was turned back must not make a profile older than itself.
    let created_at = current.map_or(now, |c| c.created_at);
    let updated_at = current.map_or(now, |c| c.updated_at.max(now));
    Profile { draft, etag: uuid::Uuid::now_v7().simple().to_string(), created_at, updated_at }
}
