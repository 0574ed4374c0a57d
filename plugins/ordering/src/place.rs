//! Placing an order: what is wanted, checked against what the restaurant says, becomes lines with prices of their own.

use dinehub_sdk::{
    conflict, invalid,
    types::{MoneyCents, Problem, Violation},
};

use crate::{
    bindings::{
        dinehub::{
            ordering::order_events::{self, OrderFacts},
            ordering_data::orders,
            restaurants::catalog::{self, Quotation, QuotedItem},
        },
        exports::dinehub::ordering::api::{NewOrder, Order, OrderLine, PricedLine},
    },
    state::State,
};

/// What an item may cost; with at most 99 of each and 50 lines a total stays below 5 × 10¹⁰.
const PRICE_CENTS_MAX: MoneyCents = 10_000_000;

pub(crate) fn place(new: NewOrder) -> Result<Order, Problem> {
    are_distinct(&new.lines)?;
    let item_ids: Vec<String> = new.lines.iter().map(|line| line.menu_item_id.clone()).collect();
    let quotation = catalog::quote(&new.restaurant_id, &item_ids).map_err(|problem| match problem {
        Problem::NotFound => invalid("/restaurant_id", "must name a restaurant"),
        other => other,
    })?;
    is_open(&quotation)?;
    let lines = price(&new.lines, &quotation.items)?;
    let total_cents = total(&lines)?;
    let placed = orders::place(
        &quotation.owner_id,
        &quotation.restaurant_id,
        &quotation.name,
        &quotation.currency,
        new.note.as_deref(),
        total_cents,
        &(1..).take(lines.len()).collect::<Vec<i32>>(),
        &lines.iter().map(|line| line.menu_item_id.clone()).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.name.clone()).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.quantity).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.price_cents).collect::<Vec<_>>(),
    )?;
    order_events::placed(&OrderFacts {
        order_id: placed.id.clone(),
        customer_id: placed.customer_id,
        owner_id: quotation.owner_id,
        restaurant_id: quotation.restaurant_id.clone(),
        restaurant_name: quotation.name.clone(),
        currency: quotation.currency.clone(),
        total_cents,
    });
    Ok(Order {
        id: placed.id,
        restaurant_id: quotation.restaurant_id,
        restaurant_name: quotation.name,
        state: State::Placed,
        currency: quotation.currency,
        total_cents,
        note: new.note,
        changed_at: placed.placed_at.clone(),
        placed_at: placed.placed_at,
        lines,
    })
}

/// Refuses an item that stands in two lines: whether the quantities add up or one is a slip, only the caller knows.
fn are_distinct(lines: &[OrderLine]) -> Result<(), Problem> {
    let twice = |(at, line): &(usize, &OrderLine)| {
        lines.iter().take(*at).any(|earlier| earlier.menu_item_id.eq_ignore_ascii_case(&line.menu_item_id))
    };
    refuse(lines.iter().enumerate().filter(twice).map(|(at, _)| at), "must not be in two lines")
}

/// Refuses a restaurant that sells nothing at this moment.
fn is_open(quotation: &Quotation) -> Result<(), Problem> {
    if !quotation.accepting {
        return Err(conflict("restaurant_takes_no_orders", "The restaurant takes no orders at present."));
    }
    if !quotation.open_now {
        return Err(conflict("restaurant_is_not_open", "The restaurant is not open now."));
    }
    Ok(())
}

/// Gives each line the name and price of its item. Refuses items of another menu, and those that cannot be had.
fn price(wanted: &[OrderLine], items: &[QuotedItem]) -> Result<Vec<PricedLine>, Problem> {
    let found = |line: &OrderLine| items.iter().find(|item| item.id.eq_ignore_ascii_case(&line.menu_item_id));
    let foreign = wanted.iter().enumerate().filter(|(_, line)| found(line).is_none()).map(|(at, _)| at);
    refuse(foreign, "must name an item of this restaurant's menu")?;
    wanted
        .iter()
        .filter_map(|line| found(line).map(|item| (line, item)))
        .map(|(line, item)| {
            if !item.available {
                return Err(conflict("menu_item_is_not_available", &format!("{} cannot be had now.", item.name)));
            }
            Ok(PricedLine {
                menu_item_id: item.id.clone(),
                name: item.name.clone(),
                quantity: line.quantity,
                price_cents: item.price_cents,
            })
        })
        .collect()
}

/// What the lines cost together. The host keeps quantities within 1–99 and lines within 50; prices are another plugin's
/// word and are checked here, so the sum cannot overflow.
fn total(lines: &[PricedLine]) -> Result<MoneyCents, Problem> {
    lines.iter().try_fold(0, |sum: MoneyCents, line| {
        let sane = (0..=PRICE_CENTS_MAX).contains(&line.price_cents) && (1..=99).contains(&line.quantity);
        let cost = line.price_cents.checked_mul(line.quantity.into()).filter(|_| sane);
        cost.and_then(|cost| sum.checked_add(cost))
            .ok_or_else(|| Problem::Unavailable(format!("item {} has no sane price", line.menu_item_id)))
    })
}

/// Refuses the items of the lines at these places, all in one answer.
fn refuse(places: impl Iterator<Item = usize>, detail: &str) -> Result<(), Problem> {
    let violations: Vec<Violation> =
        places.map(|at| Violation { pointer: format!("/lines/{at}/menu_item_id"), detail: detail.into() }).collect();
    if violations.is_empty() { Ok(()) } else { Err(Problem::Invalid(violations)) }
}

#[cfg(test)]
mod tests {
    use super::{
        OrderLine, PRICE_CENTS_MAX, PricedLine, Problem, Quotation, QuotedItem, are_distinct, is_open, price, total,
    };

    fn wanted(id: &str, quantity: i32) -> OrderLine {
        OrderLine { menu_item_id: id.into(), quantity }
    }

    fn item(id: &str, price_cents: i64, available: bool) -> QuotedItem {
        QuotedItem { id: id.into(), name: format!("the {id}"), price_cents, available }
    }

    fn priced(quantity: i32, price_cents: i64) -> PricedLine {
        PricedLine { menu_item_id: "soup".into(), name: "Soup".into(), quantity, price_cents }
    }

    fn code(problem: &Problem) -> &str {
        match problem {
            Problem::Conflict(no) => &no.code,
            Problem::Invalid(violations) => &violations[0].pointer,
            _ => "",
        }
    }

    #[test]
    fn an_item_in_two_lines_is_refused_at_the_second() {
        let refused = are_distinct(&[wanted("a", 1), wanted("b", 1), wanted("A", 2)]).unwrap_err();
        assert_eq!(code(&refused), "/lines/2/menu_item_id");
        assert!(are_distinct(&[wanted("a", 1), wanted("b", 1)]).is_ok());
    }

    #[test]
    fn a_restaurant_that_sells_nothing_now_is_refused() {
        let quotation = |accepting, open_now| Quotation {
            restaurant_id: "r".into(),
            name: "Trattoria".into(),
            owner_id: "o".into(),
            currency: "EUR".into(),
            open_now,
            accepting,
            items: vec![],
        };
        assert_eq!(code(&is_open(&quotation(true, false)).unwrap_err()), "restaurant_is_not_open");
        assert_eq!(code(&is_open(&quotation(false, true)).unwrap_err()), "restaurant_takes_no_orders");
        assert!(is_open(&quotation(true, true)).is_ok());
    }

    #[test]
    fn items_of_another_menu_and_items_that_are_out_are_refused() {
        let menu = [item("soup", 500, true), item("fish", 1500, false)];
        assert_eq!(code(&price(&[wanted("soup", 1), wanted("cake", 1)], &menu).unwrap_err()), "/lines/1/menu_item_id");
        assert_eq!(code(&price(&[wanted("fish", 1)], &menu).unwrap_err()), "menu_item_is_not_available");
    }

    #[test]
    fn a_line_takes_its_price_and_name_from_the_menu() {
        let lines = price(&[wanted("soup", 3)], &[item("cake", 1, true), item("soup", 500, true)]).unwrap();
        assert_eq!((lines[0].name.as_str(), lines[0].quantity, lines[0].price_cents), ("the soup", 3, 500));
    }

    #[test]
    fn a_price_that_no_menu_may_have_is_refused() {
        for line in [priced(1, -1), priced(1, PRICE_CENTS_MAX + 1), priced(99, i64::MAX), priced(0, 1), priced(-1, 1)] {
            assert!(matches!(total(&[line]), Err(Problem::Unavailable(_))));
        }
    }

    #[test]
    fn the_dearest_order_is_added_up_exactly() {
        let lines: Vec<PricedLine> = (0..50).map(|_| priced(99, PRICE_CENTS_MAX)).collect();
        assert_eq!(total(&lines), Ok(49_500_000_000));
        assert_eq!(total(&[priced(2, 450), priced(1, 0)]), Ok(900));
    }
}
