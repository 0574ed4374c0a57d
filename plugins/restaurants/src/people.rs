//! What is kept about an owner: told to them, and closed when they leave.

use dinehub_sdk::types::Problem;

use crate::bindings::{
    dinehub::restaurants_data::people,
    exports::dinehub::privacy::subject::{Erasure, Field, Page, Remainder, Thing},
};

/// As many as the statement gives.
const ROWS: usize = 20;
/// Before every restaurant.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn tell(account: &str, after: Option<&str>) -> Result<Page, Problem> {
    let rows = people::told(account, after.unwrap_or(NO_ID))?;
    let is_full = rows.len() == ROWS;
    let next = rows.last().filter(|_| is_full).map(|last| last.id.clone());
    let things = rows
        .into_iter()
        .map(|row| {
            let mut fields = vec![
                field("id", row.id),
                field("name", row.name),
                field("address", row.address),
                field("created_at", row.created_at),
            ];
            fields.extend(row.description.map(|text| field("description", text)));
            Thing { kind: "restaurant".to_owned(), fields }
        })
        .collect();
    Ok(Page { things, next })
}

pub(crate) fn erase(account: &str) -> Result<Erasure, Problem> {
    let erased = i64::from(people::closed(account)?);
    let restaurants = people::kept(account)?.restaurants;
    let kept = (restaurants > 0).then(|| Remainder {
        kind: "restaurant".to_owned(),
        count: restaurants,
        reason:
            "Closed, and kept because orders name it, without address and description; its owner names nobody any more."
                .to_owned(),
    });
    Ok(Erasure { erased, kept: kept.into_iter().collect(), more: false })
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value }
}
