//! Two kinds of failure.
//!
//! * [`Error`] answers a request. Each variant fixes its status, its `code`, the sentence a client may read, whose fault
//!   it is and how loudly it is logged; what only the log may see is kept apart and cannot be displayed.
//! * [`Fault`] stops a command or a start: it names the place, what is wrong there, and the fix.

use std::{borrow::Cow, error::Error as StdError, fmt};

use http::StatusCode;
use serde::Serialize;
use tracing::Level;

use crate::id::Denial;

/// Whose fault a refusal is; decides who is told and which metric counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request was wrong or not allowed.
    Caller,
    /// The plugin trapped, broke its contract or used up its limits.
    Plugin,
    /// The host, or something it depends on.
    Host,
}

/// One thing wrong with an input, at a JSON Pointer (RFC 6901) for bodies and `?name` or `{name}` for parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where: `/lines/0/quantity`, `?limit`, `{id}`.
    pub pointer: String,
    /// What is wanted there, as a sentence fragment: `must be at most 50`.
    pub detail: String,
}

/// Why nobody could be authenticated. The caller learns only that; the log learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// No credential on a route that needs one.
    Missing,
    /// More than one credential, or one in a form we do not read.
    Malformed,
    /// Signature, key, algorithm or a claim is not ours.
    Forged,
    /// Past its lifetime, or not yet in it.
    Expired,
    /// Logged out, or older than an event that ends tokens.
    Revoked,
    /// E-mail or password is wrong.
    Password,
    /// The code of a second factor is wrong, or was taken before.
    Code,
}

/// How somebody who is known would have to be known better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unassured {
    /// By a second factor.
    Factor,
    /// By a proof that is not as old.
    Recent,
}

/// The answer to a request that did not succeed.
#[derive(Debug)]
pub enum Error {
    /// 400: the request cannot be read.
    Malformed(Cow<'static, str>),
    /// 401.
    Unauthenticated(Unproven),
    /// 403: the actor is known and may not.
    Denied(Cow<'static, str>),
    /// 403: the actor's roles do not satisfy the route's rule.
    Forbidden(Denial),
    /// 403: the actor may, once proved better.
    Unassured(Unassured),
    /// 404: it does not exist, or the caller may not know that it does.
    NotFound,
    /// 405, with the methods there are.
    MethodNotAllowed(String),
    /// 409: a rule of the business says no. The code is the plugin's or the constraint's.
    Conflict { code: String, detail: String },
    /// 409: the same idempotency key is being worked on.
    InFlight,
    /// 403: it looks like an attack. The rule is for the log: to name it would help to get around it.
    Filtered { rule: String },
    /// 412: it is not what the client read any more.
    PreconditionFailed,
    /// 428: the client must say what it read.
    PreconditionRequired,
    /// 413.
    TooLarge { bytes_max: usize },
    /// 415.
    UnsupportedMedia,
    /// 422: readable, and not valid.
    Invalid(Vec<Violation>),
    /// 422: the idempotency key was used with another request.
    KeyReused,
    /// 429.
    Throttled { retry_after_s: u64 },
    /// 500: a plugin's fault.
    PluginFault { plugin: Culprit, log: String },
    /// 500: a plugin was stopped at a bound, named as in the manifest.
    Stopped { plugin: Culprit, limit: &'static str },
    /// 500: a plugin called what it was not granted.
    Ungranted { plugin: Culprit, import: String },
    /// 500: ours.
    Internal(Box<dyn StdError + Send + Sync>),
    /// 503: no permit, connection or backend in time.
    Unavailable(Cow<'static, str>),
    /// 503: an operator switched the plugin off.
    Disabled { plugin: String },
    /// 504: the plugin or the database was too slow.
    Timeout { plugin: Culprit, log: &'static str },
}

/// The plugin whose fault an error is: of several versions that are served, or were when the call began, exactly this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    pub plugin: String,
    /// Hex SHA-256 of the artefact; empty when it is not known which one it was.
    pub digest: String,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plugin)
    }
}

impl Error {
    /// An internal error from anything that tells why.
    pub fn internal(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(why.into())
    }

    /// One violation at one place.
    #[must_use]
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) | Self::Forbidden(_) | Self::Filtered { .. } | Self::Unassured(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict { .. } | Self::InFlight => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::PluginFault { .. } | Self::Stopped { .. } | Self::Ungranted { .. } | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Unavailable(_) | Self::Disabled { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A stable word for programs; part of the contract with clients.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated(Unproven::Password) => "wrong_credentials",
            Self::Unauthenticated(Unproven::Code) => "wrong_code",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Denied(_) | Self::Forbidden(_) => "denied",
            Self::Unassured(Unassured::Factor) => "factor_is_needed",
            Self::Unassured(Unassured::Recent) => "proof_is_old",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::Conflict { code, .. } => code,
            Self::InFlight => "request_in_flight",
            Self::Filtered { .. } => "filtered",
            Self::PreconditionFailed => "precondition_failed",
            Self::PreconditionRequired => "precondition_required",
            Self::TooLarge { .. } => "too_large",
            Self::UnsupportedMedia => "unsupported_media_type",
            Self::Invalid(_) => "invalid",
            Self::KeyReused => "idempotency_key_reused",
            Self::Throttled { .. } => "throttled",
            Self::PluginFault { .. } | Self::Stopped { .. } | Self::Ungranted { .. } => "plugin_fault",
            Self::Internal(_) => "internal",
            Self::Unavailable(_) => "unavailable",
            Self::Disabled { .. } => "disabled",
            Self::Timeout { .. } => "timeout",
        }
    }

    /// The sentence a client may read.
    #[must_use]
    pub fn public(&self) -> Cow<'_, str> {
        match self {
            Self::Malformed(what) => Cow::Borrowed(what.as_ref()),
            Self::Unauthenticated(Unproven::Password) => "The e-mail address or the password is wrong.".into(),
            Self::Unauthenticated(Unproven::Code) => "The code is wrong, or was used before.".into(),
            Self::Unauthenticated(_) => "A valid access token is needed: `Authorization: Bearer …`.".into(),
            Self::Denied(what) => Cow::Borrowed(what.as_ref()),
            Self::Forbidden(_) => "Your roles do not allow this.".into(),
            Self::Unassured(Unassured::Factor) => "This needs a login with a second factor.".into(),
            Self::Unassured(Unassured::Recent) => {
                "This needs a recent proof of who you are: POST /api/v1/auth/step-up.".into()
            }
            Self::NotFound => "There is no such thing here.".into(),
            Self::MethodNotAllowed(allow) => format!("This path answers {allow}.").into(),
            Self::Conflict { detail, .. } => Cow::Borrowed(detail.as_str()),
            Self::InFlight => "A request with this Idempotency-Key is being worked on; ask again shortly.".into(),
            Self::Filtered { .. } => "This request looks like an attack and is not answered.".into(),
            Self::PreconditionFailed => "It is not what the condition says any more: read it again.".into(),
            Self::PreconditionRequired => "Send If-Match with the ETag that you read.".into(),
            Self::TooLarge { bytes_max } => format!("The body may hold at most {bytes_max} bytes.").into(),
            Self::UnsupportedMedia => "The body must be application/json in UTF-8.".into(),
            Self::Invalid(_) => "The request is not valid; `errors` names each place.".into(),
            Self::KeyReused => "This Idempotency-Key was used with a different request.".into(),
            Self::Throttled { .. } => "Too many requests; see Retry-After.".into(),
            Self::PluginFault { .. } | Self::Stopped { .. } | Self::Ungranted { .. } => {
                "The feature behind this path failed; the failure is recorded.".into()
            }
            Self::Internal(_) => "The server failed; the failure is recorded.".into(),
            Self::Unavailable(_) => "The service cannot answer now; try again shortly.".into(),
            Self::Disabled { .. } => "This feature is switched off at the moment.".into(),
            Self::Timeout { .. } => "The feature behind this path took too long.".into(),
        }
    }

    /// The sentence for the log, never for a client.
    #[must_use]
    pub fn log(&self) -> Cow<'_, str> {
        match self {
            Self::Unauthenticated(why) => format!("{why:?}").into(),
            Self::PluginFault { plugin, log } => format!("{plugin}: {log}").into(),
            Self::Timeout { plugin, log } => format!("{plugin}: {log}").into(),
            Self::Disabled { plugin } => format!("{plugin} is switched off here").into(),
            Self::Stopped { plugin, limit } => format!("{plugin}: stopped at its limit `{limit}`").into(),
            Self::Ungranted { plugin, import } => format!("{plugin}: `{import}` is not granted").into(),
            Self::Internal(why) => chain(why.as_ref()).into(),
            Self::Filtered { rule } => format!("rule {rule}").into(),
            Self::Unavailable(why) => Cow::Borrowed(why.as_ref()),
            Self::Invalid(violations) => {
                violations.iter().map(|v| format!("{} {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ").into()
            }
            _ => self.public(),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::PluginFault { .. } | Self::Stopped { .. } | Self::Ungranted { .. } | Self::Timeout { .. } => {
                Blame::Plugin
            }
            Self::Internal(_) | Self::Unavailable(_) | Self::Disabled { .. } => Blame::Host,
            _ => Blame::Caller,
        }
    }

    /// How loudly it is logged.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.blame() {
            // Somebody who operates this host meant it.
            _ if matches!(self, Self::Disabled { .. }) => Level::INFO,
            Blame::Caller => Level::INFO,
            Blame::Plugin => Level::WARN,
            Blame::Host => Level::ERROR,
        }
    }
}

impl fmt::Display for Error {
    /// Only the public sentence: an error that is shown by mistake still says nothing it should not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

impl StdError for Error {}

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Why a command or a start cannot go on: where, what, and how to mend it.
///
/// ```
/// use dinehub::error::Fault;
/// let fault = Fault::new("plugins/ordering/plugin.toml", "`routes` is no key").fix("write `[[route]]`");
/// assert_eq!(fault.to_string(), "plugins/ordering/plugin.toml: `routes` is no key\n  fix: write `[[route]]`");
/// ```
#[derive(Debug)]
pub struct Fault {
    place: String,
    what: String,
    fix: Option<String>,
}

impl Fault {
    /// `place` is a path, a key or a program; `what` is what is wrong there.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), fix: None }
    }

    /// For `map_err`: the error and its causes become the `what`.
    pub fn at<E: StdError + 'static>(place: impl Into<String>) -> impl FnOnce(E) -> Self {
        let place = place.into();
        move |error| Self::new(place, chain(&error))
    }

    /// The line that mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Place and trouble in one sentence, without the fix.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{}: {}", self.place, self.what)
    }

    /// The line that mends it, or nothing.
    #[must_use]
    pub fn way(&self) -> &str {
        self.fix.as_deref().unwrap_or_default()
    }

    /// The same fault, one place further out: `outer: place: what`.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.place = format!("{outer}: {}", self.place);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl StdError for Fault {}

/// What setup code returns.
pub type Setup<T> = Result<T, Fault>;
