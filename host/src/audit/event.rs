//! What an event may hold. Every field has a type that cannot carry a secret: ids, names that the host knows, counts, masked
//! addresses, and short texts of the host's own. No variant takes a password, a token, a seed, a body or a guest's text.
//!
//! ```text
//! {"id":"0192…","at":"2026-11-25T13:30:00.123456Z","kind":"secret.used","outcome":"done","request":"0192…",
//!  "actor":"anonymous","plugin":"payments","digest":"6f54…","secret":"webhook_key","how":"verify"}
//! ```
//! `tests/golden/audit.txt` has one of each.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    error::{Culprit, Unproven},
    id::{AccountId, Denial, RequestId, TokenId},
};

/// No event's JSON is longer, in bytes.
pub const BYTES_MAX: usize = 8_192;
/// A text is cut here, in bytes.
const TEXT_BYTES_MAX: usize = 300;

/// Who is behind an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Who {
    #[default]
    Anonymous,
    Account(AccountId),
    /// The host itself, for a reason it names.
    System(&'static str),
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Anonymous => serializer.serialize_str("anonymous"),
            Self::Account(account) => account.serialize(serializer),
            Self::System(why) => serializer.collect_str(&format_args!("system:{why}")),
        }
    }
}

/// Who did it, in which request, with which token.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct By {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    pub actor: Who,
    /// Written as the SHA-256 of its id, which is worked out for an event and not for each request.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hashed")]
    pub token: Option<TokenId>,
}

impl By {
    /// Somebody who is not known (yet).
    #[must_use]
    pub fn request(id: RequestId) -> Self {
        Self { request: Some(id), ..Self::default() }
    }

    /// An account without a token: it just proved itself.
    #[must_use]
    pub fn account(self, account: AccountId) -> Self {
        Self { actor: Who::Account(account), ..self }
    }

    /// The host itself.
    #[must_use]
    pub fn host() -> Self {
        Self::system("host")
    }

    /// The host, for a reason it names.
    #[must_use]
    pub fn system(why: &'static str) -> Self {
        Self { actor: Who::System(why), ..Self::default() }
    }
}

/// A short text of the host's own; longer ones are cut at a character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(String);

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        Self(text)
    }
}

/// An e-mail address of which its owner can tell that it is theirs: `a…@example.org`. Whatever does not look like one shows
/// nothing: people type passwords into the wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Masked(String);

impl Masked {
    /// Masks what somebody typed.
    #[must_use]
    pub fn new(email: &str) -> Self {
        let is_domain = |domain: &str| {
            (3..=253).contains(&domain.len())
                && domain.contains('.')
                && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        let parts = email.rsplit_once('@').filter(|(_, domain)| is_domain(domain));
        let first = parts.and_then(|(local, domain)| Some((local.chars().next()?, domain)));
        Self(match first {
            Some((first, domain)) if first.is_ascii_graphic() => format!("{first}…@{domain}"),
            _ => "…".to_owned(),
        })
    }
}

/// The plugin an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Artefact {
    pub plugin: Text,
    /// Hex SHA-256 of the artefact; empty when it is not known which one it was.
    #[serde(skip_serializing_if = "is_empty")]
    pub digest: Text,
}

impl Artefact {
    /// By id and digest.
    #[must_use]
    pub fn new(plugin: &str, digest: &str) -> Self {
        Self { plugin: plugin.into(), digest: digest.into() }
    }

    /// As errors name it.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        Culprit { plugin: self.plugin.0.clone(), digest: self.digest.0.clone() }
    }
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it was asked for.
    Done,
    /// The host said no.
    Refused,
    /// Something broke, or was stopped.
    Fault,
}

impl Outcome {
    /// As in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Fault => "fault",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum What {
    /// Somebody proved who they are.
    Proven { email: Masked, source: IpAddr },
    /// A credential that proves nothing.
    Unproven {
        #[serde(serialize_with = "debug")]
        why: Unproven,
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<Masked>,
        source: IpAddr,
    },
    /// Tokens end before their time: of one `session`, of the `others`, of the `account`.
    Ended { scope: &'static str },
    /// An account was opened.
    Opened { account: AccountId, email: Masked },
    /// An administrator changed something of somebody's.
    Administered { act: &'static str, account: AccountId, detail: Text },
    /// A key of one of the host's rings: `in_use`, `rotated`, `revoked`.
    Key { act: &'static str, ring: &'static str, key: Text },
    /// 403.
    Denied {
        route: Text,
        /// For `dinehub grants explain --denial`; a plugin's own refusal has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        denial: Option<Denial>,
    },
    /// 429.
    Throttled {
        /// What was counted.
        limit: &'static str,
        retry_after_s: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<Masked>,
        source: IpAddr,
    },
    /// A request looked like an attack: `block`, or only `report`.
    Filtered { rule: Text, mode: &'static str, source: IpAddr },
    /// A plugin trapped, or broke its contract.
    Faulted {
        #[serde(flatten)]
        artefact: Artefact,
        detail: Text,
    },
    /// A plugin was stopped at a bound, named as in the manifest.
    Stopped {
        #[serde(flatten)]
        artefact: Artefact,
        limit: &'static str,
    },
    /// A bound cut something off (log lines, rows, a file), and the plugin went on without it.
    Limited {
        #[serde(flatten)]
        artefact: Artefact,
        limit: &'static str,
    },
    /// All of a plugin's slots and its queue were taken; once for many requests.
    Busy {
        #[serde(flatten)]
        artefact: Artefact,
    },
    /// A plugin asked for what it was not granted: an import, or a statement that PostgreSQL refused.
    Ungranted {
        #[serde(flatten)]
        artefact: Artefact,
        import: Text,
        #[serde(skip_serializing_if = "Option::is_none")]
        denial: Option<Denial>,
    },
    /// A secret was used: `sign`, `verify`, `inject`, `reveal`.
    SecretUsed {
        #[serde(flatten)]
        artefact: Artefact,
        secret: Text,
        how: &'static str,
    },
    /// A request left for a granted origin.
    Sent {
        #[serde(flatten)]
        artefact: Artefact,
        host: Text,
        method: &'static str,
        /// Without the query.
        path: Text,
        /// The status, or why there is none.
        answer: Text,
    },
    /// A request to a granted origin that was not let out, or whose answer was not let in.
    Unsent {
        #[serde(flatten)]
        artefact: Artefact,
        host: Text,
        method: &'static str,
        path: Text,
        why: Text,
    },
    /// A running host began to serve another artefact of a plugin, or none: `installed`, `rolled_back` (to an older version),
    /// `enabled`, `disabled`, `removed`.
    Changed {
        #[serde(flatten)]
        artefact: Artefact,
        act: &'static str,
        version: Text,
        /// The digest that was served before, where another one was.
        #[serde(skip_serializing_if = "is_empty")]
        before: Text,
    },
    /// So many events found no place in the queue.
    Lost { count: u64 },
}

impl What {
    /// Its name in the JSON, in metrics and in `dinehub audit tail --kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Proven { .. } => "authentication.passed",
            Self::Unproven { .. } => "authentication.failed",
            Self::Ended { .. } => "authentication.ended",
            Self::Opened { .. } => "account.opened",
            Self::Administered { .. } => "admin.acted",
            Self::Key { .. } => "key.changed",
            Self::Denied { .. } => "request.denied",
            Self::Throttled { .. } => "request.throttled",
            Self::Filtered { .. } => "request.filtered",
            Self::Faulted { .. } => "plugin.faulted",
            Self::Stopped { .. } => "plugin.stopped",
            Self::Limited { .. } => "plugin.limited",
            Self::Busy { .. } => "plugin.busy",
            Self::Ungranted { .. } => "grant.refused",
            Self::SecretUsed { .. } => "secret.used",
            Self::Sent { .. } => "egress.sent",
            Self::Unsent { .. } => "egress.refused",
            Self::Changed { .. } => "plugin.changed",
            Self::Lost { .. } => "audit.lost",
        }
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Proven { .. }
            | Self::Ended { .. }
            | Self::Opened { .. }
            | Self::Administered { .. }
            | Self::Key { .. }
            | Self::Changed { .. }
            | Self::SecretUsed { .. }
            | Self::Sent { .. } => Outcome::Done,
            Self::Unproven { .. }
            | Self::Denied { .. }
            | Self::Throttled { .. }
            | Self::Limited { .. }
            | Self::Filtered { .. }
            | Self::Ungranted { .. }
            | Self::Unsent { .. } => Outcome::Refused,
            Self::Faulted { .. } | Self::Stopped { .. } | Self::Busy { .. } | Self::Lost { .. } => Outcome::Fault,
        }
    }
}

/// One event, complete.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: Uuid,
    pub at: Timestamp,
    pub by: By,
    pub what: What,
}

/// As it is written.
#[derive(Serialize)]
struct Body<'e> {
    id: Uuid,
    at: String,
    kind: &'static str,
    outcome: Outcome,
    #[serde(flatten)]
    by: &'e By,
    #[serde(flatten)]
    what: &'e What,
}

impl Event {
    /// It happens now.
    #[must_use]
    pub fn now(by: By, what: What) -> Self {
        Self { id: Uuid::now_v7(), at: Timestamp::now(), by, what }
    }

    /// Its JSON, one line.
    #[must_use]
    pub fn body(&self) -> String {
        let Self { id, at, by, what } = self;
        let at = format!("{at:.6}");
        let body = Body { id: *id, at, kind: what.kind(), outcome: what.outcome(), by, what };
        // Names and texts only: nothing here can fail to be JSON.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

fn is_empty(text: &Text) -> bool {
    text.0.is_empty()
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn hashed<S: Serializer>(token: &Option<TokenId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&token.map(|id| hex::encode(Sha256::digest(id.0.as_bytes()))).unwrap_or_default())
}

fn debug<S: Serializer>(why: &Unproven, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{why:?}").to_ascii_lowercase())
}
