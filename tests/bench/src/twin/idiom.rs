//! The usual way: sqlx, a transaction per request, the caller in a setting that policies read. Anybody who can run SQL in
//! that session can set it to somebody else; that is what `platform.assume` is for.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use dinehub::database::target::Target;
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use super::{Item, Refusal, Twin, fault, session::CONNECTIONS_MAX};

/// The same rows in a schema of its own, with its own login; `{database}`, `{role}` and `{password}` are filled in.
pub(crate) const SCHEMA: &str = "
    create schema idiom;
    create table idiom.item (like shelf.item including all);
    insert into idiom.item select * from shelf.item;
    alter table idiom.item enable row level security, force row level security;
    create policy own on idiom.item using (owner_id = (select current_setting('app.caller_id', true)::uuid));
    create role {role} login password '{password}';
    grant connect on database {database} to {role};
    grant execute on function set_config(text, text, boolean), current_setting(text, boolean) to {role};
    grant usage on schema idiom to {role};
    grant select on idiom.item to {role};";

/// As many connections as the others have.
pub(crate) fn pool(login: &Target) -> PgPool {
    PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS_MAX).unwrap_or(8)).connect_lazy_with(login.sqlx())
}

/// One row by its key.
pub(crate) async fn item(
    State(twin): State<Arc<Twin>>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
) -> Result<Json<Item>, Refusal> {
    let caller = twin.caller(&headers)?;
    let mut transaction = twin.idiom.begin().await.map_err(fault)?;
    sqlx::query("select set_config('app.caller_id', $1, true)")
        .bind(caller.id.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(fault)?;
    let item: Option<Item> =
        sqlx::query_as("select id, name, price_cents, quantity, available from idiom.item where id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(fault)?;
    transaction.commit().await.map_err(fault)?;
    item.map(Json).ok_or((StatusCode::NOT_FOUND, String::new()))
}
