//! Orders that were placed: read, listed, moved.

use dinehub_sdk::{
    cursor, denied, not_found,
    types::{Caller, Cursor, Problem, Timestamp, Uuid},
};

use crate::{
    bindings::{
        dinehub::{ordering_data::orders, restaurants::catalog},
        exports::dinehub::ordering::api::{Order, OrderPage, OrderSummary, PricedLine},
    },
    event,
    state::{Move, Side, State},
};

/// Orders in a page when the caller does not say.
const LIMIT: i32 = 20;
/// Orders in a page at most; the statement gives one more, to know whether the list goes on.
const LIMIT_MAX: i32 = 50;
/// Before every order, and after every order.
const NO_TIME: &str = "1970-01-01T00:00:00.000000Z";
const ALL_TIME: &str = "9000-01-01T00:00:00.000000Z";
/// Sorts after every id.
const LAST_ID: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// When an order was placed: `from` is included, `until` is not.
pub(crate) struct Span {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

pub(crate) fn get(id: &str) -> Result<Order, Problem> {
    let row = orders::find(id)?.ok_or_else(not_found)?;
    let lines = orders::lines(id)?
        .into_iter()
        .map(|line| PricedLine {
            menu_item_id: line.menu_item_id,
            name: line.name,
            quantity: line.quantity,
            price_cents: line.price_cents,
        })
        .collect();
    Ok(Order {
        id: row.id,
        restaurant_id: row.restaurant_id,
        restaurant_name: row.restaurant_name,
        state: row.state,
        currency: row.currency,
        total_cents: row.total_cents,
        note: row.note,
        placed_at: row.placed_at,
        changed_at: row.changed_at,
        lines,
    })
}

/// Rows of the two lists have the same columns and, being of two statements, two types.
macro_rules! page {
    ($rows:expr, $limit:expr) => {{
        let mut rows = $rows;
        let next_cursor: Option<Cursor> =
            cursor::cut(&mut rows, $limit, |last| cursor::pack(&last.placed_at, &last.id));
        let items = rows
            .into_iter()
            .map(|row| OrderSummary {
                id: row.id,
                restaurant_id: row.restaurant_id,
                restaurant_name: row.restaurant_name,
                state: row.state,
                currency: row.currency,
                total_cents: row.total_cents,
                placed_at: row.placed_at,
                changed_at: row.changed_at,
            })
            .collect();
        OrderPage { items, next_cursor }
    }};
}

pub(crate) fn of_customer(
    state: Option<State>,
    span: &Span,
    limit: Option<i32>,
    cursor: Option<&str>,
) -> Result<OrderPage, Problem> {
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let (before_at, before_id) = place_in_list(cursor)?;
    let from = span.from.as_deref().unwrap_or(NO_TIME);
    let until = span.until.as_deref().unwrap_or(ALL_TIME);
    let rows = orders::of_customer(from, until, &before_at, &before_id, state, limit + 1)?;
    Ok(page!(rows, limit))
}

/// The restaurants plugin says who owns the restaurant: one that is not there is `not-found`, another's is `denied`.
pub(crate) fn of_restaurant(
    caller: &Caller,
    restaurant_id: &str,
    state: Option<State>,
    limit: Option<i32>,
    cursor: Option<&str>,
) -> Result<OrderPage, Problem> {
    let owner_id = catalog::quote(restaurant_id, &[])?.owner_id;
    if !caller.is("ADMIN") && caller.account()? != owner_id {
        return Err(denied("Only its owner sees the orders of a restaurant."));
    }
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let (before_at, before_id) = place_in_list(cursor)?;
    let rows = orders::of_restaurant(restaurant_id, &before_at, &before_id, state, limit + 1)?;
    Ok(page!(rows, limit))
}

/// Moves an order, tells of it, and gives the order as it then is.
pub(crate) fn make(step: Move, id: &str) -> Result<Order, Problem> {
    if let Some(moved) = orders::make_move(step.target(), id)? {
        event::moved(step, moved);
        return get(id);
    }
    let standing = orders::standing(id)?.ok_or_else(not_found)?;
    let sides = [(Side::Customer, standing.is_customer), (Side::Restaurant, standing.is_owner)];
    let sides: Vec<Side> = sides.into_iter().filter_map(|(side, is_on)| is_on.then_some(side)).collect();
    Err(step.refusal(standing.state, &sides))
}

/// When and which the last order of the page before was; on the first page, one after all orders.
fn place_in_list(cursor: Option<&str>) -> Result<(Timestamp, Uuid), Problem> {
    cursor.map_or_else(|| Ok((ALL_TIME.to_owned(), LAST_ID.to_owned())), cursor::unpack)
}
