//! What items cost and whether they can be had, for other plugins.

use dinehub_sdk::{
    invalid, not_found,
    types::{Problem, Uuid},
};

use crate::bindings::{
    dinehub::restaurants_data::quotes::{self, ReadRow},
    exports::dinehub::restaurants::catalog::{Quotation, QuotedItem},
};

/// Items of one question; the statement gives no more rows.
const ITEMS_MAX: usize = 50;

pub(crate) fn quote(restaurant_id: Uuid, item_ids: &[Uuid]) -> Result<Quotation, Problem> {
    if item_ids.len() > ITEMS_MAX {
        return Err(invalid("/item_ids", "must be at most 50"));
    }
    let mut rows = quotes::read(item_ids, &restaurant_id)?.into_iter();
    let first = rows.next().ok_or_else(not_found)?;
    let (mut quotation, item) = split(restaurant_id, first);
    quotation.items.reserve_exact(rows.len() + 1);
    quotation.items.extend(item);
    quotation.items.extend(rows.filter_map(|row| quoted(row.item_id, row.item_name, row.price_cents, row.available)));
    Ok(quotation)
}

/// The restaurant and the item of one row.
fn split(restaurant_id: Uuid, row: ReadRow) -> (Quotation, Option<QuotedItem>) {
    let item = quoted(row.item_id, row.item_name, row.price_cents, row.available);
    let quotation = Quotation {
        restaurant_id,
        name: row.name,
        owner_id: row.owner_id,
        currency: row.currency,
        open_now: row.open_now,
        accepting: row.accepting,
        items: Vec::new(),
    };
    (quotation, item)
}

/// The item of a row, if it has one: an outer join leaves all its columns out together.
fn quoted(
    id: Option<Uuid>,
    name: Option<String>,
    price_cents: Option<i64>,
    available: Option<bool>,
) -> Option<QuotedItem> {
    Some(QuotedItem { id: id?, name: name?, price_cents: price_cents?, available: available? })
}
