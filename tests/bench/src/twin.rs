//! The same routes as the plugins', written by hand in axum: what a team would run if there were no sandbox.
//!
//! Each handler proves the token with the host's own code (`identity.actor`: signature, claims, revocation; `permit`: the
//! role), because that is not what is compared. Everything else is the plain way: `axum::serve`, serde, and
//! * [`session`]: tokio-postgres with the host's guarantees: the plugin's own login, `platform.assume`, row level
//!   security, all in one flush; what an expert would write who wants them;
//! * [`idiom`]: sqlx with `begin`, `set_config`, the statement, `commit`; what is usually written.
//!
//! A native handler is spared what the host does for every response: request ids, counters, security headers, deadlines
//! for head and body, bounds on rows, bytes and time. That is part of what the host costs, and is counted as such.

pub(crate) mod idiom;
pub(crate) mod order;
pub(crate) mod session;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use dinehub::{
    access::{permit, policy::Rule},
    http::App,
    id::Denial,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use uuid::Uuid;

use self::session::Pool;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) app: Arc<App>,
    pub(crate) rule: Rule,
    pub(crate) denial: Denial,
    pub(crate) shelf: Arc<Pool>,
    pub(crate) restaurants: Arc<Pool>,
    pub(crate) ordering: Arc<Pool>,
    pub(crate) idiom: sqlx::PgPool,
    pub(crate) texts: Texts,
}

/// The plugins' own pinned statements.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) find: String,
    pub(crate) mine: String,
    pub(crate) quote: String,
    pub(crate) place: String,
}

/// Who calls, as the database is told.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: Uuid,
    /// Joined by commas.
    pub(crate) roles: String,
}

/// Anything that is no 2xx; the bench stops at one.
pub(crate) type Refusal = (StatusCode, String);

/// For what cannot happen to a request that the bench makes.
pub(crate) fn fault(why: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    item_id: Uuid,
    text: String,
    count: i32,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Item {
    id: Uuid,
    name: String,
    price_cents: i64,
    quantity: i32,
    available: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Page {
    items: Vec<Item>,
}

/// Paths are the plugins', so that the same requests go to both sides; those of [`idiom`] are its own.
pub(crate) fn router(twin: Arc<Twin>) -> Router {
    Router::new()
        .route("/api/v1/shelf/labels", post(echo))
        .route("/api/v1/shelf/items/{id}", get(item))
        .route("/api/v1/shelf/items", get(page))
        .route("/api/v1/ordering/orders", post(order::place))
        .route("/idiom/items/{id}", get(idiom::item))
        .with_state(twin)
}

impl Twin {
    /// Who calls, proved as the host proves it.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let refused = |why: dinehub::error::Error| (StatusCode::UNAUTHORIZED, format!("{why:?}"));
        let actor = self.app.identity.actor(headers).map_err(refused)?;
        let permit = permit::permit(actor, &self.rule, &self.app.roles, &self.denial).map_err(refused)?;
        let id = permit.actor().account().ok_or_else(|| fault("no account"))?.0;
        let roles: Vec<&str> = permit.roles().iter().map(AsRef::as_ref).collect();
        Ok(Caller { id, roles: roles.join(",") })
    }
}

async fn echo(
    State(twin): State<Arc<Twin>>,
    headers: HeaderMap,
    Json(label): Json<Label>,
) -> Result<Json<Label>, Refusal> {
    twin.caller(&headers)?;
    if label.text.chars().count() > 100 {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "text: at most 100 characters".to_owned()));
    }
    Ok(Json(label))
}

async fn item(State(twin): State<Arc<Twin>>, headers: HeaderMap, Path(id): Path<Uuid>) -> Result<Json<Item>, Refusal> {
    let caller = twin.caller(&headers)?;
    let rows = twin.shelf.read(&caller, &twin.texts.find, &[&id]).await.map_err(fault)?;
    let row = rows.first().ok_or((StatusCode::NOT_FOUND, String::new()))?;
    Ok(Json(Item::read(row).map_err(fault)?))
}

async fn page(State(twin): State<Arc<Twin>>, headers: HeaderMap) -> Result<Json<Page>, Refusal> {
    let caller = twin.caller(&headers)?;
    let rows = twin.shelf.read(&caller, &twin.texts.mine, &[&caller.id]).await.map_err(fault)?;
    let items = rows.iter().map(Item::read).collect::<Result<_, _>>().map_err(fault)?;
    Ok(Json(Page { items }))
}

impl Item {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            price_cents: row.try_get(2)?,
            quantity: row.try_get(3)?,
            available: row.try_get(4)?,
        })
    }
}
