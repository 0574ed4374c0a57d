//! Outbound HTTP to one granted origin: `[http.<name>]` in the manifest becomes an interface of its own. A guest names a
//! method and a path, never a host; the host resolves the name, refuses every address inside the house, follows no
//! redirect, adds the header with the secret that the guest never sees, and bounds time and size.
//!
//! ```text
//! [http.provider]                               dinehub:payments-http/provider
//! origin = "https://api.pay.example"       →      send: func(request: request) -> result<response, error>;
//! methods = ["POST"]
//! inject = { header = "authorization", secret = "api_key", prefix = "Bearer " }
//! ```
//!
//! No request leaves while the call has a transaction open that may have written: what the other side did cannot be rolled
//! back. And a call that sent one is never run a second time by the host.

pub mod address;
pub mod client;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use wasmtime::component::{Linker, Val};

use self::client::{Origin, Outbound, Request, Response};
use super::{gate::Function, grants::Grants};
use crate::{
    audit::event::{Text, What},
    error::{Error, Fault, Setup},
};

/// The types that every HTTP handle shares.
pub const WIT: &str = include_str!("../../../wit/dinehub-http@1.0.0/http.wit");

/// A response is never larger than this, whatever a plugin asks, in bytes.
pub const BYTES_MAX: u32 = 1 << 20;
/// An answer is never waited for longer than this, in milliseconds.
pub const TIMEOUT_MS_MAX: u32 = 20_000;

/// One `[http.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// `https://host` or `https://host:port`.
    pub origin: String,
    pub methods: BTreeSet<Method>,
    /// The header that carries a secret.
    pub inject: Option<Inject>,
    /// Bytes of the largest request or response body.
    #[serde(default = "bytes_max")]
    pub bytes_max: u32,
    /// From the first byte out to the last byte in, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
}

fn bytes_max() -> u32 {
    64 << 10
}

fn timeout_ms() -> u32 {
    3_000
}

/// A header that the host adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    pub header: String,
    /// One of the plugin's secrets with `uses = ["inject"]`.
    pub secret: String,
    #[serde(default)]
    pub prefix: String,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn by_wit(case: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(case))
    }
}

/// A granted origin, opened at load.
pub struct Host {
    spec: Spec,
    origin: Origin,
    /// The header's value, with its prefix.
    injected: Option<SecretString>,
    outbound: Arc<Outbound>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A plugin's hosts.
pub type Hosts = BTreeMap<String, Arc<Host>>;

/// Why nothing came back; the guest sees its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Invalid(String),
    Denied(String),
    TooLarge,
    Timeout,
    /// The sentence is for the log.
    Unreachable(String),
    NotText,
}

impl Spec {
    /// Whether it asks for something that can be granted.
    pub fn ensure_sound(&self) -> Setup<()> {
        let origin = Origin::parse(&self.origin)?;
        if !origin.is_https {
            return Err(Fault::new("origin", format!("{:?} is not https", self.origin)).fix("origin = \"https://…\""));
        }
        if self.methods.is_empty() {
            return Err(Fault::new("methods", "is empty").fix(r#"methods = ["POST"]"#));
        }
        for (name, asked, max) in
            [("bytes_max", self.bytes_max, BYTES_MAX), ("timeout_ms", self.timeout_ms, TIMEOUT_MS_MAX)]
        {
            if asked == 0 || asked > max {
                return Err(Fault::new(name, format!("must be from 1 to {max}")));
            }
        }
        match &self.inject {
            Some(inject) if client::is_reserved(&inject.header) => {
                Err(Fault::new("inject", format!("`{}` is a header of the connection's own", inject.header)))
            }
            _ => Ok(()),
        }
    }

    /// What it opens, for reviewers.
    #[must_use]
    pub fn lines(&self, name: &str) -> Vec<String> {
        let injected = self.inject.as_ref().map(|inject| format!(", {} from secret {}", inject.header, inject.secret));
        let injected = injected.unwrap_or_default();
        let line = |method: &Method| format!("http {name} {} {}{injected}", method.as_str(), self.origin);
        self.methods.iter().map(line).collect()
    }
}

impl Host {
    /// `secret` is the value of `spec.inject`'s secret.
    pub fn open(spec: &Spec, secret: Option<SecretString>, outbound: &Arc<Outbound>) -> Setup<Self> {
        let injected = spec.inject.as_ref().zip(secret);
        let injected = injected.map(|(inject, secret)| format!("{}{}", inject.prefix, secret.expose_secret()).into());
        let origin = Origin::parse(&spec.origin)?;
        Ok(Self { spec: spec.clone(), origin, injected, outbound: Arc::clone(outbound) })
    }

    async fn send(&self, method: Method, request: Request) -> Result<Response, Failure> {
        if !self.spec.methods.contains(&method) {
            return Err(Failure::Denied(format!("{} is not granted", method.as_str())));
        }
        if request.body.as_ref().is_some_and(|body| body.len() > self.spec.bytes_max as usize) {
            return Err(Failure::TooLarge);
        }
        let injected = self.spec.inject.as_ref().zip(self.injected.as_ref());
        let injected = injected.map(|(inject, value)| (inject.header.as_str(), value));
        let sent = self.outbound.send(&self.origin, method, request, injected, self.spec.bytes_max as usize);
        let limit = Duration::from_millis(self.spec.timeout_ms.into());
        let response = tokio::time::timeout(limit, sent).await.map_err(|_| Failure::Timeout)??;
        // A provider that echoes headers would hand the secret to the guest.
        let holds = |text: &str| self.injected.as_ref().is_some_and(|secret| text.contains(secret.expose_secret()));
        if holds(&response.body) || response.headers.iter().any(|(_, value)| holds(value)) {
            return Err(Failure::Denied("the answer holds the secret".to_owned()));
        }
        Ok(response)
    }
}

/// The functions of one handle, as they stand in its interface.
#[must_use]
pub fn wit(_: &Spec) -> String {
    "  use dinehub:http/types@1.0.0.{request, response, error};\n  /// One request to the granted origin.\n  send: func(request: request) -> result<response, error>;\n".to_owned()
}

/// Links `send` of `interface` for the host `name`.
pub fn link(linker: &mut Linker<Grants>, interface: &str, name: &str) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    let name: Arc<str> = name.into();
    Function::new(interface, "send").link(&mut instance, move |grants, arguments| {
        let name = Arc::clone(&name);
        let request = arguments.first().and_then(read);
        Box::pin(async move {
            let plugin = grants.plugin().clone();
            let Some((method, request)) = request else {
                return Err(grants.stop_at_fault("called `send` with other arguments than its type has".to_owned()));
            };
            let Some(host) = grants.handles().hosts.get(&*name).map(Arc::clone) else {
                return Err(grants.stop(Error::internal(format!("{plugin}: host {name} was not opened"))));
            };
            if grants.transaction().is_open() && !grants.is_read_only() {
                let why = "a transaction is open: send before the first statement, or after this call".to_owned();
                let refused = Err(Failure::Denied(why));
                record(grants, &name, method, &request.path, &refused);
                return Ok(Some(answer(refused)));
            }
            if !grants.meter_mut().http_call() {
                return Err(grants.stop_at_bound());
            }
            grants.note_effect();
            let path = request.path.clone();
            let done = host.send(method, request).await;
            record(grants, &name, method, &path, &done);
            Ok(Some(answer(done)))
        })
    })
}

/// One event: it went out, or it was not let out (or its answer not in). A path's query may hold what is nobody's business.
fn record(grants: &Grants, name: &str, method: Method, path: &str, done: &Result<Response, Failure>) {
    let (host, method) = (Text::from(name), method.as_str());
    let path = Text::from(path.split(['?', '#']).next().unwrap_or_default());
    grants.record(|artefact| match done {
        Err(Failure::Denied(why) | Failure::Invalid(why)) => {
            What::Unsent { artefact, host, method, path, why: why.as_str().into() }
        }
        Ok(response) => What::Sent { artefact, host, method, path, answer: response.status.to_string().into() },
        Err(failure) => What::Sent { artefact, host, method, path, answer: format!("{failure:?}").into() },
    });
}

/// A request as the guest wrote it.
fn read(value: &Val) -> Option<(Method, Request)> {
    let Val::Record(fields) = value else { return None };
    let [(_, Val::Enum(method)), (_, Val::String(path)), (_, Val::List(headers)), (_, Val::Option(body))] =
        fields.as_slice()
    else {
        return None;
    };
    let header = |value: &Val| match value {
        Val::Record(fields) => match fields.as_slice() {
            [(_, Val::String(name)), (_, Val::String(value))] => Some((name.clone(), value.clone())),
            _ => None,
        },
        _ => None,
    };
    let headers = headers.iter().map(header).collect::<Option<Vec<_>>>()?;
    let body = match body.as_deref() {
        None => None,
        Some(Val::String(text)) => Some(text.clone()),
        Some(_) => return None,
    };
    Some((Method::by_wit(method)?, Request { path: path.clone(), headers, body }))
}

fn answer(done: Result<Response, Failure>) -> Val {
    let text = |text: String| Val::String(text);
    let boxed = |value: Val| Some(Box::new(value));
    Val::Result(match done {
        Ok(Response { status, headers, body }) => {
            let header = |(name, value): (String, String)| {
                Val::Record(vec![("name".to_owned(), text(name)), ("value".to_owned(), text(value))])
            };
            Ok(boxed(Val::Record(vec![
                ("status".to_owned(), Val::U16(status)),
                ("headers".to_owned(), Val::List(headers.into_iter().map(header).collect())),
                ("body".to_owned(), text(body)),
            ])))
        }
        Err(failure) => {
            let (case, why) = match failure {
                Failure::Invalid(why) => ("invalid", Some(why)),
                Failure::Denied(why) => ("denied", Some(why)),
                Failure::TooLarge => ("too-large", None),
                Failure::Timeout => ("timeout", None),
                Failure::Unreachable(_) => ("unreachable", None),
                Failure::NotText => ("not-text", None),
            };
            Err(boxed(Val::Variant(case.to_owned(), why.map(|why| Box::new(text(why))))))
        }
    })
}
