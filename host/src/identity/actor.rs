//! Who is asking, as a proof: an [`Actor`] has private fields and one maker.
//!
//! ```compile_fail
//! // No other code can say who somebody is.
//! let forged = dinehub::identity::actor::Actor { who: todo!() };
//! ```

use http::{HeaderMap, header::AUTHORIZATION};

use super::{
    Identity,
    token::{Assurance, IdHash, Kind, Verified},
};
use crate::{
    audit::event::{By, Who as Party},
    error::{Error, Unproven},
    id::{AccountId, RequestId, Role, SessionId},
};

/// Whoever is behind a request: nobody in particular, an account that proved itself, or the host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Actor {
    who: Who,
}

#[derive(Clone, Debug)]
enum Who {
    Anonymous,
    User(Verified),
    System { name: &'static str, cause: Option<AccountId> },
}

impl Identity {
    /// Reads the credential of a request: `Authorization: Bearer <access token>`, once, or not at all.
    ///
    /// # Errors
    /// 401 for a credential that is not exactly that, is not ours, or was revoked; a bad credential is never the same as
    /// none. 503 when this node cannot know what was revoked.
    pub fn actor(&self, headers: &HeaderMap) -> Result<Actor, Error> {
        let mut credentials = headers.get_all(AUTHORIZATION).iter();
        let Some(credential) = credentials.next() else {
            return Ok(Actor { who: Who::Anonymous });
        };
        if credentials.next().is_some() {
            return Err(Error::Unauthenticated(Unproven::Malformed));
        }
        let text = credential.to_str().ok().and_then(bearer).ok_or(Error::Unauthenticated(Unproven::Malformed))?;
        let now_s = self.0.policy.clock.now_s();
        let verified = self.0.tokens.load().verify(text, Kind::Access, now_s).map_err(Error::Unauthenticated)?;
        self.0.revocations.check(&verified)?;
        self.0.uses.note(verified.holder.session);
        Ok(Actor { who: Who::User(verified) })
    }
}

/// The token after `Bearer ` in any case (RFC 6750, RFC 9110 §11.1).
fn bearer(credential: &str) -> Option<&str> {
    let (scheme, token) = credential.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl Actor {
    /// The host itself, calling for a reason it names; `cause` is the account behind it, which lends it nothing. Holds no
    /// role.
    pub(crate) fn system(name: &'static str, cause: Option<AccountId>) -> Self {
        Self { who: Who::System { name, cause } }
    }

    /// The account, unless it is nobody or the host.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.verified().map(|verified| verified.holder.account)
    }

    /// The roles the token names; what they include is access's business.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        self.verified().map_or(&[], |verified| &verified.holder.roles)
    }

    /// Nobody in particular.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self.who, Who::Anonymous)
    }

    /// The reason for which the host itself is calling.
    #[must_use]
    pub fn system_name(&self) -> Option<&'static str> {
        match self.who {
            Who::System { name, .. } => Some(name),
            Who::Anonymous | Who::User(_) => None,
        }
    }

    /// The account behind what is done: the one that asks, or the one because of which the host calls.
    #[must_use]
    pub fn cause(&self) -> Option<AccountId> {
        match &self.who {
            Who::Anonymous => None,
            Who::User(verified) => Some(verified.holder.account),
            Who::System { cause, .. } => *cause,
        }
    }

    /// The hash of the token's id, for the log.
    #[must_use]
    pub fn token(&self) -> Option<IdHash> {
        self.verified().map(|verified| IdHash::of(verified.token.0))
    }

    /// How it proved itself; nobody and the host did by a password at most.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.verified().map_or(Assurance::Pwd, |verified| verified.holder.assurance)
    }

    /// The session, unless it is nobody or the host.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.verified().map(|verified| verified.holder.session)
    }

    /// Whom the audit names for what happens in a request.
    #[must_use]
    pub fn by(&self, request: RequestId) -> By {
        let actor = match &self.who {
            Who::Anonymous => Party::Anonymous,
            Who::User(verified) => Party::Account(verified.holder.account),
            Who::System { name, .. } => Party::System(name),
        };
        By { request: Some(request), actor, token: self.verified().map(|verified| verified.token) }
    }

    /// What the token proved; 401 when there was none.
    pub(super) fn proven(&self) -> Result<&Verified, Error> {
        self.verified().ok_or(Error::Unauthenticated(Unproven::Missing))
    }

    fn verified(&self) -> Option<&Verified> {
        match &self.who {
            Who::User(verified) => Some(verified),
            Who::Anonymous | Who::System { .. } => None,
        }
    }
}
