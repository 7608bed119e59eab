//! What checks held, until a person decides and for a while after.

use super::{Decided, Held, NewReview, Review, Status, Store, StoreError, UserId, now_ms};

impl Store {
    /// Holds `new`, or finds that it is held already.
    ///
    /// # Errors
    /// [`StoreError::Full`] when `most` are held, and when the store does not answer.
    pub async fn hold(&self, new: NewReview, most: u64) -> Result<Review, StoreError> {
        let NewReview { owner, user, request, checks, prompt, what } = new;
        let (side, fingerprint, answer) = match what {
            Held::Input { fingerprint } => ("input", Some(fingerprint), None),
            // As JSON: an answer may hold what PostgreSQL's texts may not, U+0000.
            Held::Output(answer) => ("output", None, Some(serde_json::Value::from(answer).to_string())),
        };
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.within(async {
            let mut tx = self.begin().await?;
            let find = "SELECT * FROM reviews WHERE owner = $1 AND fingerprint = $2";
            if let Some(fingerprint) = &fingerprint
                && let Some(held) = sqlx::query_as(find).bind(&owner).bind(fingerprint).fetch_optional(&mut *tx).await?
            {
                return Ok(held);
            }
            let held: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM reviews").fetch_one(&mut *tx).await?;
            if u64::try_from(held).is_ok_and(|held| held >= most) {
                return Err(StoreError::Full);
            }
            sqlx::query(
                "INSERT INTO reviews (id, owner, user_id, request, side, checks, fingerprint, prompt, answer, status, \
                 created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
            )
            .bind(&id)
            .bind(&owner)
            .bind(user.as_ref().map(UserId::as_str))
            .bind(request)
            .bind(side)
            .bind(checks)
            .bind(&fingerprint)
            .bind(prompt)
            .bind(answer)
            .bind(Status::Pending.name())
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
            // Another server may have held the same prompt in between.
            let find = "SELECT * FROM reviews WHERE owner = $1 AND (id = $2 OR fingerprint = $3)";
            let find = sqlx::query_as(find).bind(&owner).bind(&id).bind(&fingerprint);
            let held = find.fetch_optional(&mut *tx).await?.ok_or(StoreError::Contended)?;
            tx.commit().await?;
            Ok(held)
        })
        .await
    }

    /// What `owner` has under this id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn review(&self, owner: &str, id: &str) -> Result<Option<Review>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM reviews WHERE owner = $1 AND id = $2");
        let query = query.bind(owner.to_owned()).bind(id.to_owned());
        self.within(async { Ok(query.fetch_optional(&self.reads).await?) }).await
    }

    /// At most `limit` of what `owner` has with this status behind the id `after`, the oldest first; and whether there
    /// are more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reviews(
        &self,
        owner: &str,
        status: Status,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Review>, bool), StoreError> {
        let query = "SELECT * FROM reviews WHERE owner = $1 AND status = $2 AND id > $3 ORDER BY id LIMIT $4";
        let query = sqlx::query_as(query).bind(owner.to_owned()).bind(status.name()).bind(after.to_owned());
        let query = query.bind(i64::from(limit) + 1);
        let mut found: Vec<Review> =
            self.within(async { Ok::<_, StoreError>(query.fetch_all(&self.reads).await?) }).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok((found, more))
    }

    /// Everything that was held of `user`, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reviews_of(&self, owner: &str, user: &UserId) -> Result<Vec<Review>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM reviews WHERE owner = $1 AND user_id = $2 ORDER BY id");
        let query = query.bind(owner.to_owned()).bind(user.as_str().to_owned());
        self.within(async { Ok(query.fetch_all(&self.reads).await?) }).await
    }

    /// Decides, unless somebody has. `None` when `owner` has nothing under this id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn decide(
        &self,
        (owner, id): (&str, &str),
        status: Status,
        key: Option<&str>,
    ) -> Result<Option<Decided>, StoreError> {
        self.within(async {
            let mut tx = self.begin().await?;
            let update = sqlx::query(
                "UPDATE reviews SET status = $1, decided_at = $2, decided_by = $3 \
                 WHERE owner = $4 AND id = $5 AND status = $6",
            );
            let update = update.bind(status.name()).bind(now_ms()).bind(key);
            update.bind(owner).bind(id).bind(Status::Pending.name()).execute(&mut *tx).await?;
            let find = sqlx::query_as("SELECT * FROM reviews WHERE owner = $1 AND id = $2");
            let found: Option<Review> = find.bind(owner).bind(id).fetch_optional(&mut *tx).await?;
            tx.commit().await?;
            let as_decided = |review: Review| match review.status == status {
                true => Decided::Now(review),
                false => Decided::Otherwise(review),
            };
            Ok(found.map(as_decided))
        })
        .await
    }

    /// Forgets what was held before `age_ms` milliseconds ago, decided or not, and tells how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_reviews(&self, age_ms: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM reviews WHERE created_at < $1").bind(now_ms().saturating_sub(age_ms));
        self.within(async { Ok(query.execute(&self.writes).await?.rows_affected()) }).await
    }
}
