//! What subscribers are told of an order. It is stored with the move: both last, or neither.

use crate::{
    bindings::dinehub::{
        ordering::order_events::{self, OrderFacts},
        ordering_data::orders::MakeMoveRow,
    },
    state::Move,
};

/// Tells of a move. That the kitchen began is between it and the order.
pub(crate) fn moved(step: Move, row: MakeMoveRow) {
    let tell = match step {
        Move::Accept => order_events::accepted,
        Move::Reject => order_events::rejected,
        Move::Cancel => order_events::cancelled,
        Move::Ready => order_events::ready,
        Move::Complete => order_events::completed,
        Move::Prepare => return,
    };
    tell(&OrderFacts {
        order_id: row.id,
        customer_id: row.customer_id,
        owner_id: row.owner_id,
        restaurant_id: row.restaurant_id,
        restaurant_name: row.restaurant_name,
        currency: row.currency,
        total_cents: row.total_cents,
    });
}
