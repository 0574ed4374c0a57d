//! Payments: an order is charged when it is placed, and paid back when it comes to nothing.
//!
//! * [`ledger`] — what orders want, what the provider said, and what follows from it; one row an order.
//! * [`people`] — what is kept about a person, told and forgotten.
//! * [`provider`] — asking the provider: charge, refund.
//! * [`report`] — what the provider reports by itself, signed.
//!
//! Nothing leaves the house while a transaction is open, so an order's event is answered in two steps. The first writes
//! the payment down and publishes what is to be asked; both last, or neither. The second asks the provider, with the order
//! for its idempotency key, and then records the answer together with the mark that it was asked. Whoever dies between
//! asking and recording is followed by somebody who asks again with the same key, and is told what was done the first time.

mod ledger;
mod people;
mod provider;
mod report;

use dinehub_sdk::types::{Caller, Cursor, Problem, Uuid};

use crate::bindings::{
    dinehub::http::types::Incoming,
    exports::dinehub::{
        ordering::order_events::{Guest as OrderEvents, OrderFacts},
        payments::{
            api::{Guest, Payment, PaymentPage},
            reports::Guest as Reports,
            schedules::Guest as Schedules,
            work::Guest as Work,
        },
        privacy::subject::{Erasure, Guest as Subject, Page},
    },
};

dinehub_sdk::plugin!(Component);

/// The exports. Each is one line: what it does is in the module of its noun.
struct Component;

impl Guest for Component {
    fn get_payment(_caller: Caller, order_id: Uuid) -> Result<Payment, Problem> {
        ledger::get(&order_id)
    }

    fn restaurant_payments(
        _caller: Caller,
        restaurant_id: Uuid,
        limit: Option<i32>,
        cursor: Option<Cursor>,
    ) -> Result<PaymentPage, Problem> {
        ledger::of_restaurant(&restaurant_id, limit, cursor.as_deref())
    }

    fn webhook(_caller: Caller, request: Incoming) -> Result<(), Problem> {
        report::read(&request)
    }
}

impl OrderEvents for Component {
    fn placed(order: OrderFacts) {
        done(ledger::want(&order));
    }

    fn accepted(_order: OrderFacts) {}

    fn ready(_order: OrderFacts) {}

    fn completed(_order: OrderFacts) {}

    fn rejected(order: OrderFacts) {
        done(ledger::unwant(&order));
    }

    fn cancelled(order: OrderFacts) {
        done(ledger::unwant(&order));
    }
}

impl Work for Component {
    fn charge(order_id: Uuid, amount_cents: i64, currency: String) {
        done(provider::charge(&order_id, amount_cents, &currency));
    }

    fn refund(order_id: Uuid, amount_cents: i64, currency: String, charge_id: String) {
        done(provider::refund(&order_id, amount_cents, &currency, &charge_id));
    }
}

impl Reports for Component {
    fn charged(order_id: Uuid, charge_id: String) {
        done(ledger::charged(&order_id, &charge_id));
    }

    fn refunded(order_id: Uuid, refund_id: String) {
        done(ledger::refunded(&order_id, &refund_id));
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

impl Schedules for Component {
    fn chase() {
        done(ledger::chase());
    }
}

/// Nobody waits for an event's answer: one that did not come to an end says why in the log, and ends its call, so that the
/// host makes it again.
fn done(outcome: Result<(), Problem>) {
    #[cfg(target_arch = "wasm32")]
    if let Err(problem) = outcome {
        use crate::bindings::dinehub::platform::log;
        let field = log::Field { key: "why".to_owned(), value: format!("{problem:?}") };
        log::write(log::Level::Warn, "a call did not come to its end", &[field]);
        core::arch::wasm32::unreachable()
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = outcome;
}
