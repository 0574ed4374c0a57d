//! Who is told what: the customer everything about the order, the restaurant's owner what comes in and what is withdrawn.

use dinehub_sdk::types::Problem;

use crate::{
    bindings::exports::dinehub::{ordering::order_events::OrderFacts, payments::payment_events::PaymentFacts},
    notice,
    template::{self, Words},
};

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderNews {
    Placed,
    Accepted,
    Ready,
    Completed,
    Rejected,
    Cancelled,
}

/// What happened to its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaymentNews {
    Paid,
    Declined,
    Refunded,
}

/// Whom a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Customer,
    Owner,
}

impl OrderNews {
    /// The templates, which are the kinds of notices too.
    const fn kinds(self) -> &'static [(To, &'static str)] {
        match self {
            Self::Placed => &[(To::Owner, "order-placed")],
            Self::Accepted => &[(To::Customer, "order-accepted")],
            Self::Ready => &[(To::Customer, "order-ready")],
            Self::Completed => &[(To::Customer, "order-completed")],
            Self::Rejected => &[(To::Customer, "order-rejected")],
            Self::Cancelled => &[(To::Customer, "order-cancelled"), (To::Owner, "order-withdrawn")],
        }
    }
}

impl PaymentNews {
    const fn kind(self) -> &'static str {
        match self {
            Self::Paid => "payment-paid",
            Self::Declined => "payment-declined",
            Self::Refunded => "payment-refunded",
        }
    }
}

pub(crate) fn of_order(news: OrderNews, order: &OrderFacts) -> Result<(), Problem> {
    let total = template::money(order.total_cents, &order.currency);
    let words = Words { restaurant: Some(&order.restaurant_name), total: &total };
    news.kinds().iter().try_for_each(|(to, kind)| {
        let recipient = match to {
            To::Customer => &order.customer_id,
            To::Owner => &order.owner_id,
        };
        notice::tell(recipient, &order.order_id, kind, &words)
    })
}

pub(crate) fn of_payment(news: PaymentNews, payment: &PaymentFacts) -> Result<(), Problem> {
    let total = template::money(payment.amount_cents, &payment.currency);
    let words = Words { restaurant: None, total: &total };
    notice::tell(&payment.customer_id, &payment.order_id, news.kind(), &words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{OrderNews, PaymentNews};
    use crate::template::{Words, fill};

    /// Every kind has a template that ships with the plugin, and every template a kind.
    #[test]
    fn every_kind_has_its_template() {
        let orders = [
            OrderNews::Placed,
            OrderNews::Accepted,
            OrderNews::Ready,
            OrderNews::Completed,
            OrderNews::Rejected,
            OrderNews::Cancelled,
        ];
        let payments = [PaymentNews::Paid, PaymentNews::Declined, PaymentNews::Refunded];
        let of_orders = orders.iter().flat_map(|news| news.kinds()).map(|(_, kind)| (*kind, Some("Trattoria")));
        let all: BTreeMap<_, _> = of_orders.chain(payments.iter().map(|news| (news.kind(), None))).collect();
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/files/templates");
        for (kind, restaurant) in &all {
            let text = std::fs::read_to_string(format!("{directory}/{kind}.txt")).unwrap();
            let (title, body) = fill(&text, &Words { restaurant: *restaurant, total: "5.00 EUR" }).unwrap();
            assert!(!title.is_empty() && !body.is_empty(), "{kind}");
        }
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), all.len());
    }
}
