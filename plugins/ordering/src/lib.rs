//! Orders: placed by customers at the restaurant's prices of that moment, moved along by restaurants.
//!
//! * [`place`] — from what is wanted and what the restaurant says to an order.
//! * [`order`] — read one, list one's own or a restaurant's.
//! * [`event`] — what subscribers are told, in the same transaction.
//! * [`people`] — what is kept about a person, told and forgotten.
//! * [`state`] — the graph of an order's states, and who may move it along which edge.
//!
//! Prices, names and the restaurant's owner come from the restaurants plugin, asked through the host before the first
//! statement: that answer is a snapshot of its own, and no transaction of this plugin waits for it.

mod event;
mod order;
mod people;
mod place;
mod state;

use dinehub_sdk::types::{Caller, Cursor, Problem, Timestamp, Uuid};

use crate::{
    bindings::exports::dinehub::{
        ordering::api::{Guest, NewOrder, Order, OrderPage, OrderState},
        privacy::subject::{Erasure, Guest as Subject, Page},
    },
    order::Span,
    state::Move,
};

dinehub_sdk::plugin!(Component);

/// The exports. Each is one line: what it does is in the module of its noun.
struct Component;

impl Guest for Component {
    fn place_order(_caller: Caller, body: NewOrder) -> Result<Order, Problem> {
        place::place(body)
    }

    fn my_orders(
        _caller: Caller,
        state: Option<OrderState>,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        limit: Option<i32>,
        cursor: Option<Cursor>,
    ) -> Result<OrderPage, Problem> {
        order::of_customer(state, &Span { from, until }, limit, cursor.as_deref())
    }

    fn get_order(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::get(&id)
    }

    fn restaurant_orders(
        caller: Caller,
        restaurant_id: Uuid,
        state: Option<OrderState>,
        limit: Option<i32>,
        cursor: Option<Cursor>,
    ) -> Result<OrderPage, Problem> {
        order::of_restaurant(&caller, &restaurant_id, state, limit, cursor.as_deref())
    }

    fn cancel(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Cancel, &id)
    }

    fn accept(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Accept, &id)
    }

    fn reject(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Reject, &id)
    }

    fn prepare(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Prepare, &id)
    }

    fn ready(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Ready, &id)
    }

    fn complete(_caller: Caller, id: Uuid) -> Result<Order, Problem> {
        order::make(Move::Complete, &id)
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
