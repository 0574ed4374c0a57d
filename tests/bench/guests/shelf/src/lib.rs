//! The shortest ways through the host: nothing, one row, fifty rows. The native handlers of the bench do the same.

use dinehub_sdk::{
    not_found,
    types::{Caller, Problem, Uuid},
};

use crate::bindings::{
    dinehub::shelf_data::items,
    exports::dinehub::shelf::api::{Guest, Item, Label, Page},
};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn echo(_caller: Caller, body: Label) -> Result<Label, Problem> {
        Ok(body)
    }

    fn get_item(_caller: Caller, id: Uuid) -> Result<Item, Problem> {
        let row = items::find(&id)?.ok_or_else(not_found)?;
        Ok(Item {
            id: row.id,
            name: row.name,
            price_cents: row.price_cents,
            quantity: row.quantity,
            available: row.available,
        })
    }

    fn my_items(_caller: Caller) -> Result<Page, Problem> {
        let rows = items::mine()?.into_iter();
        let items = rows.map(|row| Item {
            id: row.id,
            name: row.name,
            price_cents: row.price_cents,
            quantity: row.quantity,
            available: row.available,
        });
        Ok(Page { items: items.collect() })
    }
}
