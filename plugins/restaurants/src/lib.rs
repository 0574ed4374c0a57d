//! Restaurants, their menus and their hours: browsed by everybody, managed by their owners.
//!
//! * [`restaurant`] — search, read, create, edit, close; and why a change was refused.
//! * [`menu`] — sections and items.
//! * [`hours`] — the stretches of a week in which a restaurant is open.
//! * [`people`] — what is kept about an owner, told and forgotten.
//! * [`quote`] — what other plugins may ask.
//! * [`check`] — what the boundary's types cannot say about an input.
//!
//! Who may change what is decided by the row policies; this code learns it from a statement that changed no row or was
//! `denied`, and only then asks how the caller stands to the restaurant, to give the right answer: one that the caller
//! may see and not manage is 403, one that the caller may not see is 404, a closed one is 409.

mod check;
mod hours;
mod menu;
mod people;
mod quote;
mod restaurant;

use dinehub_sdk::types::{Caller, Cursor, Problem, Uuid};

use crate::bindings::exports::dinehub::{
    privacy::subject::{Erasure, Guest as Subject, Page},
    restaurants::{
        api::{
            Cuisine, Guest, Hours, Item, Menu, NewHours, NewItem, NewRestaurant, NewSection, Restaurant,
            RestaurantEdit, RestaurantPage, Section,
        },
        catalog::{Guest as Catalog, Quotation},
    },
};

dinehub_sdk::plugin!(Component);

/// The exports. Each is one line: what it does is in the module of its noun.
struct Component;

impl Guest for Component {
    fn search(
        _caller: Caller,
        text: Option<String>,
        cuisine: Option<Cuisine>,
        open_now: Option<bool>,
        limit: Option<i32>,
        cursor: Option<Cursor>,
    ) -> Result<RestaurantPage, Problem> {
        restaurant::search(text.as_deref().unwrap_or(""), cuisine, open_now.unwrap_or(false), limit, cursor.as_deref())
    }

    fn create(_caller: Caller, body: NewRestaurant) -> Result<Restaurant, Problem> {
        restaurant::create(body)
    }

    fn get(_caller: Caller, id: Uuid) -> Result<Restaurant, Problem> {
        restaurant::get(&id)
    }

    fn edit(_caller: Caller, id: Uuid, body: RestaurantEdit) -> Result<Restaurant, Problem> {
        restaurant::edit(&id, &body)
    }

    fn close(_caller: Caller, id: Uuid) -> Result<Restaurant, Problem> {
        restaurant::close(&id)
    }

    fn get_menu(_caller: Caller, id: Uuid) -> Result<Menu, Problem> {
        menu::get(&id)
    }

    fn add_section(_caller: Caller, id: Uuid, body: NewSection) -> Result<Section, Problem> {
        menu::add_section(&id, body)
    }

    fn edit_section(_caller: Caller, id: Uuid, section_id: Uuid, body: NewSection) -> Result<Section, Problem> {
        menu::edit_section(&id, section_id, body)
    }

    fn remove_section(_caller: Caller, id: Uuid, section_id: Uuid) -> Result<(), Problem> {
        menu::remove_section(&id, &section_id)
    }

    fn add_item(_caller: Caller, id: Uuid, body: NewItem) -> Result<Item, Problem> {
        menu::add_item(&id, body)
    }

    fn get_item(_caller: Caller, id: Uuid, item_id: Uuid) -> Result<Item, Problem> {
        menu::get_item(&id, &item_id)
    }

    fn edit_item(_caller: Caller, id: Uuid, item_id: Uuid, body: NewItem) -> Result<Item, Problem> {
        menu::edit_item(&id, item_id, body)
    }

    fn remove_item(_caller: Caller, id: Uuid, item_id: Uuid) -> Result<(), Problem> {
        menu::remove_item(&id, &item_id)
    }

    fn get_hours(_caller: Caller, id: Uuid) -> Result<Hours, Problem> {
        hours::get(&id)
    }

    fn set_hours(_caller: Caller, id: Uuid, body: NewHours) -> Result<Hours, Problem> {
        hours::set(&id, &body.openings)
    }
}

impl Catalog for Component {
    fn quote(restaurant_id: Uuid, item_ids: Vec<Uuid>) -> Result<Quotation, Problem> {
        quote::quote(restaurant_id, &item_ids)
    }
}

impl Subject for Component {
    fn tell(account: Uuid, after: Option<Cursor>) -> Result<Page, Problem> {
        people::tell(&account, after.as_deref())
    }

    fn erase(account: Uuid) -> Result<Erasure, Problem> {
        people::erase(&account)
    }
}
