//! The types of `dinehub:platform/types@1.0.0`, which every plugin's bindings share.
//!
//! They are written here instead of generated in each plugin, so that they can have methods and tests. The bindings
//! take them apart field by field, so a difference to the WIT does not compile.

use alloc::{string::String, vec::Vec};

/// A UUID, 36 characters, lower case.
pub type Uuid = String;
/// An e-mail address.
pub type Email = String;
/// An instant, RFC 3339 in UTC with microseconds; instants sort as text.
pub type Timestamp = String;
/// A calendar day, ISO 8601.
pub type Date = String;
/// Money in hundredths of its currency.
pub type MoneyCents = i64;
/// A place in a list; see [`crate::cursor`].
pub type Cursor = String;

/// An account that proved itself to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub id: Uuid,
    /// Effective roles: what a role includes is listed too.
    pub roles: Vec<String>,
}

/// On whose behalf a call runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody logged in.
    Anonymous,
    /// An account.
    User(User),
    /// The platform itself; the payload names the account that caused it, or is empty.
    System(String),
}

impl Caller {
    /// The account that calls.
    ///
    /// # Errors
    /// `denied` when nobody is logged in, or the platform itself calls.
    pub fn account(&self) -> Result<&str, Problem> {
        match self {
            Self::User(user) => Ok(&user.id),
            Self::Anonymous | Self::System(_) => Err(crate::denied("This needs an account.")),
        }
    }

    /// Whether the caller holds a role, directly or because another includes it.
    ///
    /// For what a plugin *shows*; what a caller *may* is asked by the route and by the row policies.
    #[must_use]
    pub fn is(&self, role: &str) -> bool {
        matches!(self, Self::User(user) if user.roles.iter().any(|held| held == role))
    }
}

/// A rule of the business that said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A stable word for programs, in snake case.
    pub code: String,
    /// One sentence for the caller.
    pub detail: String,
}

/// One thing wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON Pointer (RFC 6901) into the body, or `?name`, or `{name}`.
    pub pointer: String,
    /// What is wanted there: `must be at most 50`.
    pub detail: String,
}

/// Why a call did not succeed; returning one rolls its transaction back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// 422.
    Invalid(Vec<Violation>),
    /// 403, with one sentence for the caller.
    Denied(String),
    /// 404.
    NotFound,
    /// 409.
    Conflict(Rejection),
    /// 503, with a reason for the log only.
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::{Caller, Problem, User};

    #[test]
    fn only_a_user_has_an_account() {
        for caller in [Caller::Anonymous, Caller::System("a6e1".to_string())] {
            assert!(matches!(caller.account(), Err(Problem::Denied(_))), "{caller:?}");
        }
        let caller = Caller::User(User { id: "a6e1".to_string(), roles: vec![] });
        assert_eq!(caller.account(), Ok("a6e1"));
    }

    #[test]
    fn a_role_is_held_by_its_whole_name() {
        let caller = Caller::User(User { id: "a6e1".to_string(), roles: vec!["USER".to_string()] });
        assert!(!caller.is("USE"));
        assert!(!Caller::System("USER".to_string()).is("USER"));
        assert!(caller.is("USER"));
    }
}
