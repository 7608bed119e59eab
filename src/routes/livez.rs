//! `GET /livez`

/// Is the process alive?
#[utoipa::path(
    get,
    path = "/livez",
    tag = "operate",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"))
)]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}
