//! A menu: sections, and items in them. A menu has at most 50 sections and 300 items.

use dinehub_sdk::{
    Explain, Rule, conflict,
    database::Error,
    not_found,
    types::{Problem, Uuid},
};

use crate::{
    bindings::{
        dinehub::restaurants_data::menu::{self, BrowseRow, FindItemRow},
        exports::dinehub::restaurants::api::{Item, Menu, MenuSection, NewItem, NewSection, Section},
    },
    check,
    restaurant::{ensure_changed, refusal},
};

const ITEM_HAS_A_SECTION: Rule =
    Rule::invalid("menu_item_has_a_section", "/section_id", "must name a section of this menu");
const RULES: &[Rule] = &[
    Rule::conflict("menu_section_name_is_taken", "Another section of this menu has that name."),
    Rule::conflict("menu_item_name_is_taken", "Another item of this menu has that name."),
    ITEM_HAS_A_SECTION,
];
const REMOVAL_RULES: &[Rule] =
    &[ITEM_HAS_A_SECTION.coded("menu_section_is_not_empty", "Remove the items of this section first.")];

pub(crate) fn get(restaurant_id: &str) -> Result<Menu, Problem> {
    by_section(menu::browse(restaurant_id)?).ok_or_else(not_found)
}

pub(crate) fn add_section(restaurant_id: &str, new: NewSection) -> Result<Section, Problem> {
    check::is_filled("/name", &new.name)?;
    let position = new.position.unwrap_or(0);
    let made = added(restaurant_id, menu::add_section(&new.name, position, restaurant_id))?;
    Ok(Section { id: made.id, name: new.name, position })
}

pub(crate) fn edit_section(restaurant_id: &str, id: Uuid, new: NewSection) -> Result<Section, Problem> {
    check::is_filled("/name", &new.name)?;
    let position = new.position.unwrap_or(0);
    ensure_changed(restaurant_id, menu::edit_section(&new.name, position, &id, restaurant_id).explain(RULES)?)?;
    Ok(Section { id, name: new.name, position })
}

pub(crate) fn remove_section(restaurant_id: &str, id: &str) -> Result<(), Problem> {
    ensure_changed(restaurant_id, menu::remove_section(id, restaurant_id).explain(REMOVAL_RULES)?)
}

pub(crate) fn add_item(restaurant_id: &str, new: NewItem) -> Result<Item, Problem> {
    check::is_filled("/name", &new.name)?;
    let made = added(
        restaurant_id,
        menu::add_item(
            &new.section_id,
            &new.name,
            new.description.as_deref(),
            new.price_cents,
            new.available.unwrap_or(true),
            restaurant_id,
        ),
    )?;
    Ok(item(made.id, new))
}

pub(crate) fn get_item(restaurant_id: &str, id: &str) -> Result<Item, Problem> {
    menu::find_item(id, restaurant_id)?.map(Item::from).ok_or_else(not_found)
}

pub(crate) fn edit_item(restaurant_id: &str, id: Uuid, new: NewItem) -> Result<Item, Problem> {
    check::is_filled("/name", &new.name)?;
    let changed = menu::edit_item(
        &new.section_id,
        &new.name,
        new.description.as_deref(),
        new.price_cents,
        new.available.unwrap_or(true),
        &id,
        restaurant_id,
    )
    .explain(RULES)?;
    ensure_changed(restaurant_id, changed)?;
    Ok(item(id, new))
}

pub(crate) fn remove_item(restaurant_id: &str, id: &str) -> Result<(), Problem> {
    ensure_changed(restaurant_id, menu::remove_item(id, restaurant_id)?)
}

/// What was added; a restaurant that let nothing be added without refusing the caller has a full menu.
fn added<T>(restaurant_id: &str, made: Result<T, Error>) -> Result<T, Problem> {
    match made {
        Err(Error::Missing) => {
            Err(refusal(restaurant_id).unwrap_or_else(|| conflict("menu_is_full", "This menu can hold no more.")))
        }
        made => made.explain(RULES),
    }
}

fn item(id: Uuid, new: NewItem) -> Item {
    Item {
        id,
        section_id: new.section_id,
        name: new.name,
        description: new.description,
        price_cents: new.price_cents,
        available: new.available.unwrap_or(true),
    }
}

impl From<FindItemRow> for Item {
    fn from(row: FindItemRow) -> Self {
        Self {
            id: row.id,
            section_id: row.section_id,
            name: row.name,
            description: row.description,
            price_cents: row.price_cents,
            available: row.available,
        }
    }
}

/// Puts rows that come section by section into their sections; `None` without a row, for there is no restaurant then.
fn by_section(rows: Vec<BrowseRow>) -> Option<Menu> {
    let mut rows = rows.into_iter().peekable();
    let first = rows.peek()?;
    let mut menu =
        Menu { restaurant_id: first.restaurant_id.clone(), currency: first.currency.clone(), sections: Vec::new() };
    for row in rows {
        let Some(section_id) = row.section_id else { continue };
        if menu.sections.last().is_none_or(|last| last.id != section_id) {
            menu.sections.push(MenuSection {
                id: section_id.clone(),
                name: row.section_name.unwrap_or_default(),
                position: row.position.unwrap_or_default(),
                items: Vec::new(),
            });
        }
        let (Some(id), Some(section)) = (row.item_id, menu.sections.last_mut()) else { continue };
        section.items.push(Item {
            id,
            section_id,
            name: row.item_name.unwrap_or_default(),
            description: row.description,
            price_cents: row.price_cents.unwrap_or_default(),
            available: row.available.unwrap_or_default(),
        });
    }
    Some(menu)
}

#[cfg(test)]
mod tests {
    use super::{BrowseRow, by_section};

    fn row(section: Option<&str>, item: Option<&str>) -> BrowseRow {
        BrowseRow {
            restaurant_id: "r".into(),
            currency: "EUR".into(),
            section_id: section.map(Into::into),
            section_name: section.map(Into::into),
            position: section.map(|_| 1),
            item_id: item.map(Into::into),
            item_name: item.map(Into::into),
            description: None,
            price_cents: item.map(|_| 100),
            available: item.map(|_| true),
        }
    }

    #[test]
    fn no_row_is_no_restaurant() {
        assert!(by_section(vec![]).is_none());
    }

    #[test]
    fn a_restaurant_without_a_menu_has_an_empty_one() {
        let menu = by_section(vec![row(None, None)]).unwrap();
        assert!(menu.sections.is_empty());
        assert_eq!(menu.currency, "EUR");
    }

    #[test]
    fn items_stand_in_their_sections_and_empty_sections_stay() {
        let menu =
            by_section(vec![row(Some("a"), Some("1")), row(Some("a"), Some("2")), row(Some("b"), None)]).unwrap();
        let items: Vec<(&str, Vec<&str>)> = menu
            .sections
            .iter()
            .map(|section| (section.id.as_str(), section.items.iter().map(|item| item.id.as_str()).collect()))
            .collect();
        assert_eq!(items, [("a", vec!["1", "2"]), ("b", vec![])]);
    }
}
