//! Notifications: what happens to an order and its payment, told to those whom it concerns.
//!
//! * [`news`] — who is told what of which event.
//! * [`notice`] — written down, listed, and published to be sent.
//! * [`template`] — the words, from a directory.
//! * [`gateway`] — asking the gateway to send.
//!
//! As with payments, an event is answered in two steps: what is to be told is written down and published to the outbox, in
//! one transaction; then the gateway is asked, with the notice for its idempotency key, and what it said is recorded. The
//! gateway knows how to reach an account; no address comes this way.

mod gateway;
mod news;
mod notice;
mod template;

use dinehub_sdk::types::{Caller, Cursor, Problem, Timestamp, Uuid};

use crate::{
    bindings::exports::dinehub::{
        notifications::{
            api::{Guest, Notice, NoticePage},
            outbox::Guest as Outbox,
            schedules::Guest as Schedules,
        },
        ordering::order_events::{Guest as OrderEvents, OrderFacts},
        payments::payment_events::{Guest as PaymentEvents, PaymentFacts},
    },
    news::{OrderNews, PaymentNews},
    notice::Message,
};

dinehub_sdk::plugin!(Component);

/// The exports. Each is one line: what it does is in the module of its noun.
struct Component;

impl Guest for Component {
    fn my_notices(_caller: Caller, limit: Option<i32>, cursor: Option<Cursor>) -> Result<NoticePage, Problem> {
        notice::of_caller(limit, cursor.as_deref())
    }

    fn get_notice(_caller: Caller, id: Uuid) -> Result<Notice, Problem> {
        notice::get(&id)
    }
}

impl OrderEvents for Component {
    fn placed(order: OrderFacts) {
        done(news::of_order(OrderNews::Placed, &order));
    }

    fn accepted(order: OrderFacts) {
        done(news::of_order(OrderNews::Accepted, &order));
    }

    fn ready(order: OrderFacts) {
        done(news::of_order(OrderNews::Ready, &order));
    }

    fn completed(order: OrderFacts) {
        done(news::of_order(OrderNews::Completed, &order));
    }

    fn rejected(order: OrderFacts) {
        done(news::of_order(OrderNews::Rejected, &order));
    }

    fn cancelled(order: OrderFacts) {
        done(news::of_order(OrderNews::Cancelled, &order));
    }
}

impl PaymentEvents for Component {
    fn paid(payment: PaymentFacts) {
        done(news::of_payment(PaymentNews::Paid, &payment));
    }

    fn declined(payment: PaymentFacts) {
        done(news::of_payment(PaymentNews::Declined, &payment));
    }

    fn refunded(payment: PaymentFacts) {
        done(news::of_payment(PaymentNews::Refunded, &payment));
    }
}

impl Outbox for Component {
    fn send(id: Uuid, _thread: String, recipient_id: Uuid, title: String, text: String, until: Timestamp) {
        let message = Message { id: &id, recipient_id: &recipient_id, title: &title, text: &text };
        done(gateway::send(&message, &until));
    }
}

impl Schedules for Component {
    fn chase() {
        done(notice::chase());
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
