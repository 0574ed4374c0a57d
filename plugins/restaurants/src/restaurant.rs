//! A restaurant: found, opened, changed, closed for good.

use dinehub_sdk::{
    Explain, Rule, conflict, cursor, denied, not_found,
    types::{Cursor, Problem},
};

use crate::{
    bindings::{
        dinehub::restaurants_data::restaurants::{self, FindRow},
        exports::dinehub::restaurants::api::{
            Cuisine, NewRestaurant, Restaurant, RestaurantEdit, RestaurantPage, RestaurantSummary,
        },
    },
    check::{self, ZONE_WANTED},
};

/// Restaurants in a page when the caller does not say.
const LIMIT: i32 = 20;
/// Restaurants in a page at most; the statement gives one more, to know whether the list goes on.
const LIMIT_MAX: i32 = 50;
/// Sorts before every id.
const FIRST_ID: &str = "00000000-0000-0000-0000-000000000000";

const RULES: &[Rule] = &[Rule::invalid("22023", "/time_zone", ZONE_WANTED)];

pub(crate) fn search(
    text: &str,
    cuisine: Option<Cuisine>,
    only_open: bool,
    limit: Option<i32>,
    cursor: Option<&str>,
) -> Result<RestaurantPage, Problem> {
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let (name, id) = cursor.map_or_else(|| Ok((String::new(), FIRST_ID.to_owned())), cursor::unpack)?;
    let mut rows = restaurants::search(&name, &id, cuisine, text, only_open, limit + 1)?;
    let next_cursor: Option<Cursor> = cursor::cut(&mut rows, limit, |last| cursor::pack(&last.name, &last.id));
    let items = rows
        .into_iter()
        .map(|row| RestaurantSummary {
            id: row.id,
            name: row.name,
            cuisine: row.cuisine,
            address: row.address,
            currency: row.currency,
            accepting_orders: row.accepting_orders,
            open_now: row.open_now,
        })
        .collect();
    Ok(RestaurantPage { items, next_cursor })
}

pub(crate) fn create(new: NewRestaurant) -> Result<Restaurant, Problem> {
    check::is_filled("/name", &new.name)?;
    check::is_filled("/address", &new.address)?;
    check::is_currency(&new.currency)?;
    check::is_time_zone(&new.time_zone)?;
    let made = restaurants::create(
        &new.name,
        new.cuisine,
        new.description.as_deref(),
        &new.address,
        &new.currency,
        &new.time_zone,
    )
    .explain(RULES)?;
    Ok(Restaurant {
        id: made.id,
        name: new.name,
        cuisine: new.cuisine,
        description: new.description,
        address: new.address,
        currency: new.currency,
        time_zone: new.time_zone,
        accepting_orders: true,
        open_now: false,
        created_at: made.created_at,
        closed_at: None,
    })
}

pub(crate) fn get(id: &str) -> Result<Restaurant, Problem> {
    restaurants::find(id)?.map(Restaurant::from).ok_or_else(not_found)
}

pub(crate) fn edit(id: &str, edit: &RestaurantEdit) -> Result<Restaurant, Problem> {
    check::is_filled("/name", &edit.name)?;
    check::is_filled("/address", &edit.address)?;
    check::is_time_zone(&edit.time_zone)?;
    let changed = restaurants::edit(
        &edit.name,
        edit.cuisine,
        edit.description.as_deref(),
        &edit.address,
        &edit.time_zone,
        edit.accepting_orders,
        id,
    )
    .explain(RULES)?;
    ensure_changed(id, changed)?;
    get(id)
}

pub(crate) fn close(id: &str) -> Result<Restaurant, Problem> {
    ensure_changed(id, restaurants::close(id)?)?;
    get(id)
}

/// Marks a restaurant as changed, so that writers of what belongs to it follow one another.
pub(crate) fn touch(id: &str) -> Result<(), Problem> {
    ensure_changed(id, restaurants::touch(id)?)
}

/// Succeeds if a statement changed something of the restaurant `id`; otherwise says why it did not.
pub(crate) fn ensure_changed(id: &str, rows: u32) -> Result<(), Problem> {
    if rows > 0 { Ok(()) } else { Err(refusal(id).unwrap_or_else(not_found)) }
}

/// Why the caller cannot change the restaurant `id`; `None` when that would be allowed.
pub(crate) fn refusal(id: &str) -> Option<Problem> {
    match restaurants::standing(id) {
        Err(error) => Some(error.into()),
        Ok(None) => Some(not_found()),
        Ok(Some(standing)) if !standing.managed => Some(denied("Only its owner may change a restaurant.")),
        Ok(Some(standing)) if standing.closed => {
            Some(conflict("restaurant_is_closed", "A restaurant that closed for good cannot be changed."))
        }
        Ok(Some(_)) => None,
    }
}

impl From<FindRow> for Restaurant {
    fn from(row: FindRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            cuisine: row.cuisine,
            description: row.description,
            address: row.address,
            currency: row.currency,
            time_zone: row.time_zone,
            accepting_orders: row.accepting_orders,
            open_now: row.open_now,
            created_at: row.created_at,
            closed_at: row.closed_at,
        }
    }
}
