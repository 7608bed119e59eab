//! `GET /users`

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{invalid_user, profiles};
use crate::problem::ApiError;
use crate::store::UserId;
use crate::wire::problem::Problem;
use crate::wire::profile::{UserPage, UserView};

const USUAL: u32 = 100;
const MOST: u32 = 1000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct ListQuery {
    cursor: Option<String>,
    limit: Option<u32>,
}

/// The users with a profile
///
/// Those of the key's owner, ordered by name. What changes between two pages may be missed, but nobody is shown twice.
#[utoipa::path(
    get,
    path = "/users",
    tag = "people",
    params(
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "Users on a page; 100 when left out", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "One page", body = UserPage),
        (status = 422, description = "A parameter cannot be used", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn list_users(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<UserPage>, ApiError> {
    let Query(ListQuery { cursor, limit }) =
        query.map_err(|e| ApiError::invalid("invalid_field", "query", e.body_text()))?;
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::invalid("invalid_field", "limit", format!("limit is from 1 to {MOST}")));
    }
    let after = cursor.map(|cursor| UserId::new(&cursor).ok_or_else(|| invalid_user().at("cursor"))).transpose()?;
    let page = profiles(&app)?.users(caller.owner(), after.as_ref(), limit).await?;
    let next_cursor = page.users.last().filter(|_| page.more).map(|(user, _)| user.clone());
    let users = page.users.into_iter().map(|(user, updated_at_ms)| UserView { user, updated_at_ms }).collect();
    Ok(Json(UserPage { users, next_cursor }))
}
