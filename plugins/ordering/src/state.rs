//! The states of an order, as a graph: who may move it along which edge.
//!
//! ```text
//!          ┌─ reject ──▶ rejected
//! placed ──┼─ accept ──▶ accepted ─ prepare ▶ preparing ─ ready ▶ ready ─ complete ▶ completed
//!          └─ cancel ──▶ cancelled
//! ```
//!
//! A customer cancels until the restaurant accepts: from then on somebody shops and cooks for it. The edges stand once
//! more in `queries/orders/make_move.sql`, which is what holds against two moves at once; the sides stand in the row
//! policies. This module says why a move was refused.

use dinehub_sdk::{conflict, denied, types::Problem};

pub(crate) use crate::bindings::dinehub::ordering_data::types::OrderState as State;

/// What can be done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Cancel,
    Accept,
    Reject,
    Prepare,
    Ready,
    Complete,
}

/// Whose move it is. ADMIN is on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Customer,
    Restaurant,
}

impl Move {
    /// The state an order is moved to.
    pub(crate) const fn target(self) -> State {
        match self {
            Self::Cancel => State::Cancelled,
            Self::Accept => State::Accepted,
            Self::Reject => State::Rejected,
            Self::Prepare => State::Preparing,
            Self::Ready => State::Ready,
            Self::Complete => State::Completed,
        }
    }

    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Cancel => Side::Customer,
            Self::Accept | Self::Reject | Self::Prepare | Self::Ready | Self::Complete => Side::Restaurant,
        }
    }

    /// Why somebody who sees the order in `state`, and is on `sides`, could not make this move. It may have been possible
    /// when it was tried: of two moves at once the second finds the state of the first.
    pub(crate) fn refusal(self, state: State, sides: &[Side]) -> Problem {
        if sides.contains(&self.side()) {
            let detail = format!("The order is {}; it cannot be {} from there.", word(state), word(self.target()));
            return conflict("order_state_changed", &detail);
        }
        denied(match self.side() {
            Side::Customer => "Only its customer may cancel an order.",
            Side::Restaurant => "Only the restaurant may move an order along.",
        })
    }
}

/// A state as clients read it.
pub(crate) const fn word(state: State) -> &'static str {
    match state {
        State::Placed => "placed",
        State::Accepted => "accepted",
        State::Preparing => "preparing",
        State::Ready => "ready",
        State::Completed => "completed",
        State::Rejected => "rejected",
        State::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dinehub_sdk::types::Problem;

    use super::{Move, Side, State, word};

    const STATES: [State; 7] = [
        State::Placed,
        State::Accepted,
        State::Preparing,
        State::Ready,
        State::Completed,
        State::Rejected,
        State::Cancelled,
    ];
    const MOVES: [Move; 6] = [Move::Cancel, Move::Accept, Move::Reject, Move::Prepare, Move::Ready, Move::Complete];
    /// What makes a move possible: nothing of the code, so that the test can disagree.
    const PINNED: &str = include_str!("../queries/orders/make_move.sql");

    /// The edges of the pinned statement, as words.
    fn edges() -> BTreeSet<(&'static str, &'static str)> {
        let statement = PINNED.lines().filter(|line| !line.starts_with("--"));
        let quoted: Vec<&str> = statement.flat_map(|line| line.split('\'').skip(1).step_by(2)).collect();
        quoted.chunks(2).map(|edge| (edge[0], edge[1])).collect()
    }

    #[test]
    fn nothing_leaves_a_final_state_and_nothing_comes_back_to_placed() {
        for (from, to) in edges() {
            assert!(!["completed", "rejected", "cancelled"].contains(&from), "{from} → {to}");
            assert_ne!(to, "placed");
        }
    }

    #[test]
    fn every_order_can_reach_an_end_and_no_order_goes_in_circles() {
        let rank = |state: &str| STATES.iter().position(|known| word(*known) == state).unwrap();
        for (from, to) in edges() {
            assert!(rank(from) < rank(to), "{from} → {to}");
        }
        let stuck: Vec<State> =
            STATES[..4].iter().copied().filter(|s| edges().iter().all(|e| e.0 != word(*s))).collect();
        assert_eq!(stuck, []);
    }

    #[test]
    fn every_edge_is_one_move_and_every_move_has_an_edge() {
        let targets: BTreeSet<&str> = MOVES.iter().map(|step| word(step.target())).collect();
        assert_eq!(targets, edges().iter().map(|edge| edge.1).collect());
        assert_eq!(targets.len(), MOVES.len());
    }

    #[test]
    fn the_other_side_is_denied_in_every_state() {
        for step in MOVES {
            let other = if step.side() == Side::Customer { Side::Restaurant } else { Side::Customer };
            for state in STATES {
                assert!(matches!(step.refusal(state, &[other]), Problem::Denied(_)), "{step:?} from {state:?}");
                assert!(matches!(step.refusal(state, &[]), Problem::Denied(_)), "{step:?} from {state:?}");
            }
        }
    }

    #[test]
    fn the_right_side_learns_the_state_that_stands_in_the_way() {
        for step in MOVES {
            let Problem::Conflict(no) = step.refusal(State::Completed, &[step.side()]) else { panic!("{step:?}") };
            assert_eq!(no.code, "order_state_changed");
            assert!(no.detail.starts_with("The order is completed;"), "{}", no.detail);
        }
    }
}
