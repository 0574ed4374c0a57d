//! What a route demands of whoever asks.

use crate::id::Role;

/// The rule of one route. There is no default: whoever adds a route says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Also somebody anonymous.
    Anyone,
    /// Somebody who logged in, whatever their roles.
    Authenticated,
    /// Somebody who holds one of these roles, by name or by inclusion. An empty list lets nobody through.
    AnyOf(Vec<Role>),
}
