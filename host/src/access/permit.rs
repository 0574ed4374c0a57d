//! The proof that somebody may do what a route does. The next step takes it by value; there is no other way to get one.
//!
//! ```compile_fail
//! // Nobody but this module can make a permit …
//! let forged = dinehub::access::permit::Permit { actor: todo!(), roles: todo!() };
//! ```
//! ```compile_fail
//! // … nor have two of one.
//! fn twice(permit: dinehub::access::permit::Permit) {
//!     let (one, two) = (permit.clone(), permit);
//! }
//! ```

use std::sync::Arc;

use super::{policy::Rule, role::RoleTable};
use crate::{
    database::identity::Caller,
    error::{Error, Unassured, Unproven},
    id::{Denial, Role},
    identity::actor::Actor,
};

/// An actor who may, and the roles in force.
#[derive(Debug)]
pub struct Permit {
    actor: Actor,
    roles: Arc<[Role]>,
}

/// Asks whether an actor satisfies a rule; `denial` names the refusal.
///
/// # Errors
/// 401 where somebody anonymous would have to log in; 403 where the actor is known and holds none of the roles.
pub fn permit(actor: Actor, rule: &Rule, table: &RoleTable, denial: &Denial) -> Result<Permit, Error> {
    let roles = table.expand_for(actor.roles(), actor.assurance());
    let may = match rule {
        Rule::Anyone => true,
        Rule::Authenticated => !actor.is_anonymous(),
        Rule::AnyOf(wanted) => wanted.iter().any(|role| roles.contains(role)),
    };
    match may {
        true => Ok(Permit { actor, roles }),
        false if actor.is_anonymous() => Err(Error::Unauthenticated(Unproven::Missing)),
        false if may_with_factor(&actor, rule, table) => Err(Error::Unassured(Unassured::Factor)),
        false => Err(Error::Forbidden(denial.clone())),
    }
}

/// Whether the rule lets the actor through once a second factor was given.
fn may_with_factor(actor: &Actor, rule: &Rule, table: &RoleTable) -> bool {
    let Rule::AnyOf(wanted) = rule else { return false };
    let held = table.expand(actor.roles());
    wanted.iter().any(|role| held.contains(role))
}

impl Permit {
    /// The same permit for a plugin that this one calls: same caller, same roles, never more.
    #[must_use]
    pub(crate) fn for_callee(&self) -> Self {
        Self { actor: self.actor.clone(), roles: self.roles.clone() }
    }

    /// Who was let through.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// How the database is told who asks.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match (self.actor.account(), self.actor.is_anonymous()) {
            (Some(account), _) => Caller::user(account, &self.roles),
            (None, true) => Caller::anonymous(),
            (None, false) => Caller::system(),
        }
    }

    /// The roles in force: those of the token and all they include, in order.
    #[must_use]
    pub fn roles(&self) -> &Arc<[Role]> {
        &self.roles
    }

    /// Whether a role is in force.
    #[must_use]
    pub fn has(&self, role: &Role) -> bool {
        self.roles.contains(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_holds_no_role() {
        let table = RoleTable::read("roles.toml", "newcomer = \"USER\"\n[role.USER]\n").unwrap();
        let rule = Rule::AnyOf(vec!["USER".parse().unwrap()]);
        let denial = Denial::route("GET", "/");
        assert!(matches!(permit(Actor::system("event", None), &rule, &table, &denial), Err(Error::Forbidden(_))));
        assert!(
            permit(Actor::system("event", None), &Rule::Authenticated, &table, &denial).unwrap().roles().is_empty()
        );
    }
}
