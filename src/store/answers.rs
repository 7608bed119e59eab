//! Answers that feedback may still name, for every replica: kept only where the configuration says so, and for an hour.

use tureen_engine::Message;

use super::{Store, StoreError, UserId, now_ms, turns};

/// An answer and what it answers, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The answer.
    pub answer: String,
}

/// An answer in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The request that it answered.
    pub request: String,
    /// What was said.
    pub words: Words,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// `request_id`, `prompt`, `answer`, `created_at`
type Row = (String, String, String, i64);

impl Store {
    /// Keeps the answer to `request` of `owner`, which asked for `user` if it named one. Of two requests with one id the later
    /// is known.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keep_answer(
        &self,
        owner: &str,
        request: &str,
        user: Option<&UserId>,
        words: &Words,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO answers (owner, request_id, user_id, prompt, answer, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (owner, request_id) DO UPDATE SET user_id = excluded.user_id, prompt = excluded.prompt, \
             answer = excluded.answer, created_at = excluded.created_at",
        );
        let query = query.bind(owner).bind(request).bind(user.map(UserId::as_str)).bind(turns::write(&words.prompt));
        let query = query.bind(&words.answer).bind(now_ms());
        self.within(async {
            query.execute(&self.writes).await?;
            Ok(())
        })
        .await
    }

    /// The answer to `request` of `owner`, if it is not older than `age_ms` milliseconds.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn answer(&self, owner: &str, request: &str, age_ms: i64) -> Result<Option<Words>, StoreError> {
        let query = sqlx::query_as(
            "SELECT request_id, prompt, answer, created_at FROM answers \
             WHERE owner = $1 AND request_id = $2 AND created_at >= $3",
        );
        let query = query.bind(owner.to_owned()).bind(request.to_owned()).bind(now_ms().saturating_sub(age_ms));
        let found = self.within(async { Ok::<_, StoreError>(query.fetch_optional(&self.reads).await?) }).await?;
        found.map(|row| Ok(kept(row)?.words)).transpose()
    }

    /// The answers to requests that named `user`, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn answers_of(&self, owner: &str, user: &UserId) -> Result<Vec<KeptAnswer>, StoreError> {
        let query = sqlx::query_as(
            "SELECT request_id, prompt, answer, created_at FROM answers WHERE owner = $1 AND user_id = $2 \
             ORDER BY created_at, request_id",
        );
        let query = query.bind(owner.to_owned()).bind(user.as_str().to_owned());
        let rows = self.within(async { Ok::<_, StoreError>(query.fetch_all(&self.reads).await?) }).await?;
        rows.into_iter().map(kept).collect()
    }

    /// Removes the answers that were kept before `age_ms` milliseconds ago, and tells how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_answers(&self, age_ms: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM answers WHERE created_at < $1").bind(now_ms().saturating_sub(age_ms));
        self.within(async { Ok(query.execute(&self.writes).await?.rows_affected()) }).await
    }
}

fn kept((request, prompt, answer, created_at): Row) -> Result<KeptAnswer, StoreError> {
    Ok(KeptAnswer { request, words: Words { prompt: turns::read(&prompt)?, answer }, created_at })
}
