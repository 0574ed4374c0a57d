//! Placing an order by hand: the restaurants' reading login for the prices, the orders' writing login for the order, the
//! plugins' own SQL, the same checks.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use dinehub::database::timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Refusal, Twin, fault};

/// Of `quotes/read.sql`.
mod column {
    pub(super) const NAME: usize = 1;
    pub(super) const OWNER_ID: usize = 2;
    pub(super) const CURRENCY: usize = 3;
    pub(super) const ACCEPTING: usize = 4;
    pub(super) const OPEN_NOW: usize = 5;
    pub(super) const ITEM_ID: usize = 6;
    pub(super) const ITEM_NAME: usize = 7;
    pub(super) const PRICE_CENTS: usize = 8;
    pub(super) const AVAILABLE: usize = 9;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    restaurant_id: Uuid,
    lines: Vec<NewLine>,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLine {
    menu_item_id: Uuid,
    quantity: i32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Order {
    id: Uuid,
    restaurant_id: Uuid,
    restaurant_name: String,
    state: &'static str,
    currency: String,
    total_cents: i64,
    note: Option<String>,
    placed_at: String,
    changed_at: String,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    menu_item_id: Uuid,
    name: String,
    quantity: i32,
    price_cents: i64,
}

type Placed = (StatusCode, [(HeaderName, String); 1], Json<Order>);

/// What the plugin `ordering` does, with what it asks of `restaurants`.
pub(crate) async fn place(
    State(twin): State<Arc<Twin>>,
    headers: HeaderMap,
    Json(new): Json<NewOrder>,
) -> Result<Placed, Refusal> {
    let caller = twin.caller(&headers)?;
    check(&new)?;
    let ids: Vec<Uuid> = new.lines.iter().map(|line| line.menu_item_id).collect();
    let quoted = twin.restaurants.read(&caller, &twin.texts.quote, &[&ids, &new.restaurant_id]).await.map_err(fault)?;
    let restaurant = quoted.first().ok_or_else(|| refuse("restaurant_id must name a restaurant"))?;
    let get = |at: usize| restaurant.try_get::<_, String>(at).map_err(fault);
    let (name, currency) = (get(column::NAME)?, get(column::CURRENCY)?);
    let owner: Uuid = restaurant.try_get(column::OWNER_ID).map_err(fault)?;
    for state in [column::ACCEPTING, column::OPEN_NOW] {
        if !restaurant.try_get::<_, bool>(state).map_err(fault)? {
            return Err((StatusCode::CONFLICT, "the restaurant sells nothing now".to_owned()));
        }
    }
    let lines = price(&new.lines, &quoted)?;
    let total_cents: i64 = lines.iter().map(|line| line.price_cents * i64::from(line.quantity)).sum();
    let positions: Vec<i32> = (1..).take(lines.len()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i64> = lines.iter().map(|line| line.price_cents).collect();
    let placed = twin
        .ordering
        .write(
            &caller,
            &twin.texts.place,
            &[
                &caller.id,
                &owner,
                &new.restaurant_id,
                &name,
                &currency,
                &new.note,
                &total_cents,
                &positions,
                &ids,
                &names,
                &quantities,
                &prices,
            ],
        )
        .await
        .map_err(fault)?;
    let placed = placed.first().ok_or_else(|| fault("no order"))?;
    let (id, at): (Uuid, SystemTime) = (placed.try_get(0).map_err(fault)?, placed.try_get(2).map_err(fault)?);
    let at = instant(at)?;
    let location = [(header::LOCATION, format!("/api/v1/ordering/orders/{id}"))];
    let order = Order {
        id,
        restaurant_id: new.restaurant_id,
        restaurant_name: name,
        state: "placed",
        currency,
        total_cents,
        note: new.note,
        placed_at: at.clone(),
        changed_at: at,
        lines,
    };
    Ok((StatusCode::CREATED, location, Json(order)))
}

fn check(new: &NewOrder) -> Result<(), Refusal> {
    let is_long = new.note.as_ref().is_some_and(|note| note.chars().count() > 500);
    if new.lines.is_empty() || new.lines.len() > 50 || is_long {
        return Err(refuse("1 to 50 lines, and a note of at most 500 characters"));
    }
    for (at, line) in new.lines.iter().enumerate() {
        let is_twice = new.lines.iter().take(at).any(|earlier| earlier.menu_item_id == line.menu_item_id);
        if is_twice || !(1..=99).contains(&line.quantity) {
            return Err(refuse("each item once, 1 to 99 of it"));
        }
    }
    Ok(())
}

fn price(wanted: &[NewLine], quoted: &[Row]) -> Result<Vec<Line>, Refusal> {
    wanted
        .iter()
        .map(|line| {
            let is_it =
                |row: &&Row| row.try_get::<_, Option<Uuid>>(column::ITEM_ID).ok().flatten() == Some(line.menu_item_id);
            let row = quoted.iter().find(is_it).ok_or_else(|| refuse("each line must name an item of the menu"))?;
            if !row.try_get::<_, bool>(column::AVAILABLE).map_err(fault)? {
                return Err((StatusCode::CONFLICT, "cannot be had now".to_owned()));
            }
            Ok(Line {
                menu_item_id: line.menu_item_id,
                name: row.try_get(column::ITEM_NAME).map_err(fault)?,
                quantity: line.quantity,
                price_cents: row.try_get(column::PRICE_CENTS).map_err(fault)?,
            })
        })
        .collect()
}

fn instant(at: SystemTime) -> Result<String, Refusal> {
    let micros = at.duration_since(UNIX_EPOCH).map_err(fault)?.as_micros();
    let micros = i64::try_from(micros).map_err(fault)?;
    Ok(timestamp::format(micros).ok_or_else(|| fault("a year beyond 9999"))?.as_str().to_owned())
}

fn refuse(why: &str) -> Refusal {
    (StatusCode::UNPROCESSABLE_ENTITY, why.to_owned())
}
