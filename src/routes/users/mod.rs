//! `/users`: one file per route.

pub(super) mod erase;
pub(super) mod export;
pub(super) mod feedback;
pub(super) mod list;
pub(super) mod question;
