//! `plugin.toml`: what a plugin asks to be called, which functions answer which paths, and within what bounds.

mod deprecation;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    str::FromStr,
};

pub use self::deprecation::Deprecation;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{cron::Cron, privacy::Privacy};
use crate::{
    access::policy::Rule,
    capability::{egress, event, files, handle::Declared, limit::Limits, secret, wasi::Bundle},
    config::Quota,
    error::{Fault, Setup},
    id::{PluginId, Role},
};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub id: PluginId,
    /// Semantic version; its major number is the `v1` in the plugin's paths.
    pub version: Version,
    /// One sentence, shown in the API's documentation.
    pub description: String,
    /// Who wrote it, by the names of `reviewers.toml`: none of them may approve it.
    #[serde(default)]
    pub authors: BTreeSet<String>,
    /// What its crate is compiled for.
    #[serde(default)]
    pub target: Target,
    /// Bundles of WASI it may import.
    #[serde(default)]
    pub wasi: BTreeSet<Bundle>,
    /// Says that this version will go, and when.
    pub deprecation: Option<Deprecation>,
    #[serde(default)]
    pub limits: Limits,
    /// Secrets it uses without seeing them, by name.
    #[serde(default, rename = "secret")]
    pub secrets: BTreeMap<String, secret::Spec>,
    /// Directories it reads or writes, by name.
    #[serde(default)]
    pub files: BTreeMap<String, files::Spec>,
    /// Origins it may send requests to, by name.
    #[serde(default, rename = "http")]
    pub hosts: BTreeMap<String, egress::Spec>,
    /// Events it publishes or subscribes to, by name.
    #[serde(default, rename = "event")]
    pub events: BTreeMap<String, event::Spec>,
    /// When the host calls which functions of its interface `schedules`.
    #[serde(default, rename = "schedule")]
    pub schedules: Vec<Schedule>,
    /// Why nothing that it keeps is about a person; needed only by one that writes who calls and forgets nobody.
    #[serde(default)]
    pub privacy: Option<Privacy>,
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
    /// By `record.field` or `function.parameter`, in kebab case as in the WIT.
    #[serde(default, rename = "constraint")]
    pub constraints: BTreeMap<String, Constraint>,
    /// Codes of `conflict` problems with the sentence that explains each; for the documentation.
    #[serde(default, rename = "conflict")]
    pub conflicts: BTreeMap<String, String>,
}

/// What a guest in Rust is compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// No operating system: imports are what the WIT says and nothing else.
    #[default]
    #[serde(rename = "wasm32-unknown-unknown")]
    Unknown,
    /// The standard library over WASI 0.2.
    #[serde(rename = "wasm32-wasip2")]
    Wasip2,
}

impl Target {
    /// As rustc calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "wasm32-unknown-unknown",
            Self::Wasip2 => "wasm32-wasip2",
        }
    }
}

/// A plugin's versions of one major number: one of them is served at a time, beside those of other major numbers.
pub type Series = (PluginId, u64);

/// When the host calls a function that takes and gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day, month, weekday, in UTC.
    pub cron: String,
    /// Of the exported interface `schedules`, in kebab case.
    pub function: String,
}

/// One method and path, and the function of `api` that answers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub method: Method,
    /// Below `/api/v<major>/<id>`: empty, or starting with `/`; parameters in `{snake_case}`.
    pub path: String,
    /// In kebab case, as in the WIT.
    pub function: String,
    /// Any one of these lets the caller in.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Nobody needs to log in.
    #[serde(default)]
    pub anonymous: bool,
    /// The success status; 200 when absent, or 204 when the function gives nothing.
    pub status: Option<u16>,
    /// The function takes the request as it came, in a parameter `request` of `dinehub:http/types.incoming`.
    #[serde(default)]
    pub raw: bool,
    /// Takes an `Idempotency-Key`.
    #[serde(default)]
    pub idempotency: bool,
    /// The `Location` of what was made, with `{field}`s of the result.
    pub location: Option<String>,
    /// What it shows has a strong ETag. PUT, PATCH and DELETE on the same path then take `If-Match`, and the host decides.
    #[serde(default)]
    pub etag: bool,
    /// It changes nothing without an `If-Match`.
    #[serde(default)]
    pub if_match: bool,
    /// How often one account, or else one source, may call it; an operator may say something else.
    pub rate: Option<Quota>,
}

/// The methods a route may have. `HEAD` follows `GET`; `OPTIONS` is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Safe methods run read-only (RFC 9110 §9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        self == Self::Get
    }

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
}

impl FromStr for Method {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(())
    }
}

/// Bounds on a value beyond its type; inclusive. Lengths are in Unicode scalar values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub length_min: Option<u32>,
    pub length_max: Option<u32>,
    pub items_min: Option<u32>,
    pub items_max: Option<u32>,
}

impl Manifest {
    /// Reads a manifest; `place` is named in the fault.
    pub fn parse(place: &str, text: &str) -> Setup<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| Fault::new(place, error.to_string()))?;
        manifest.limits.ensure_within_host().map_err(|fault| fault.within(place))?;
        manifest.declared().ensure_sound().map_err(|fault| fault.within(place))?;
        if manifest.wasi.contains(&Bundle::Filesystem) && manifest.files.is_empty() {
            return Err(Fault::new(format!("{place}: wasi"), "`filesystem` opens no directory")
                .fix("declare one: [files.<name>]"));
        }
        if let Some(deprecation) = &manifest.deprecation {
            deprecation.ensure_sound().map_err(|fault| fault.within(place))?;
        }
        for (name, spec) in &manifest.events {
            spec.ensure_sound(name).map_err(|fault| fault.within(place))?;
        }
        let mut scheduled = BTreeSet::new();
        for Schedule { cron, function } in &manifest.schedules {
            let refused = |what: String| Err(Fault::new(format!("{place}: [[schedule]] {function}"), what));
            if let Err(what) = Cron::parse(cron) {
                return refused(format!("cron = {cron:?} {what}"))
                    .map_err(|fault| fault.fix(r#"cron = "*/5 * * * *""#));
            }
            if !scheduled.insert(function) {
                return refused("stands there twice".to_owned()).map_err(|fault| fault.fix("name another function"));
            }
        }
        for route in &manifest.routes {
            route.ensure_sound().map_err(|fault| fault.within(place))?;
        }
        Ok(manifest)
    }

    /// The handles it declares, beside its statements.
    #[must_use]
    pub fn declared(&self) -> Declared {
        Declared { secrets: self.secrets.clone(), files: self.files.clone(), hosts: self.hosts.clone() }
    }

    /// Its id and major version: what may be served once.
    #[must_use]
    pub fn series(&self) -> Series {
        (self.id.clone(), self.version.major)
    }

    /// What its operations and types are called in the API's description: its id, and in all but its first major version
    /// that too, so that a new version changes no name of an older one.
    #[must_use]
    pub fn scope(&self) -> Cow<'_, str> {
        match self.version.major {
            1 => self.id.as_str().into(),
            major => format!("{}.v{major}", self.id).into(),
        }
    }

    /// The exact name of the interface that an `[event.<name>]` is about; `version` is that of the plugin's own contract.
    #[must_use]
    pub fn event_interface(&self, name: &str, spec: &event::Spec, version: &str) -> String {
        let kebab = |name: &str| name.replace('_', "-");
        let own = || format!("dinehub:{}/{}@{version}", kebab(self.id.as_str()), kebab(name));
        spec.subscribe.clone().unwrap_or_else(own)
    }

    /// Name and value of each limit that says something about this plugin.
    pub fn limits_listed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let publishes = self.events.values().any(|spec| spec.publish);
        self.limits.listed().into_iter().filter(move |(name, _)| publishes || *name != "events_max")
    }

    /// The path prefix of every route: `/api/v1/ordering`.
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix(&self.series())
    }
}

/// The path prefix of a series' routes.
#[must_use]
pub fn prefix((id, major): &Series) -> String {
    format!("/api/v{major}/{id}")
}

/// Whether no newer series of the same plugin is among `all`: the host itself calls the newest alone.
#[must_use]
pub fn is_newest<T>(series: &Series, all: &BTreeMap<Series, T>) -> bool {
    let end = (series.0.clone(), u64::MAX);
    all.range((Bound::Excluded(series.clone()), Bound::Included(end))).next().is_none()
}

impl Route {
    /// Who may call it.
    #[must_use]
    pub fn rule(&self) -> Rule {
        if self.anonymous { Rule::Anyone } else { Rule::AnyOf(self.roles.clone()) }
    }

    fn ensure_sound(&self) -> Setup<()> {
        let place = || format!("[[route]] {} {:?}", self.method.as_str(), self.path);
        if self.anonymous != self.roles.is_empty() {
            return Err(
                Fault::new(place(), "must say either `anonymous = true` or `roles = […]`").fix(r#"roles = ["USER"]"#)
            );
        }
        let segments_sound = self.path.split('/').skip(1).all(is_segment);
        if !(self.path.is_empty() || self.path.starts_with('/') && segments_sound) {
            return Err(Fault::new(place(), "path must be empty or `/`-separated lower-case words and {parameters}"));
        }
        if self.idempotency && self.method.is_safe() {
            return Err(Fault::new(place(), "a safe method needs no idempotency key").fix("remove `idempotency`"));
        }
        if self.raw && self.method.is_safe() {
            return Err(Fault::new(place(), "a GET has no body that could be raw").fix("remove `raw`"));
        }
        if self.rate.is_some_and(|quota| quota.burst == 0 || quota.per_minute == 0) {
            return Err(
                Fault::new(place(), "a rate must allow something").fix("rate = { burst = 10, per_minute = 30 }")
            );
        }
        match self.status {
            None | Some(200 | 201 | 202 | 204) => Ok(()),
            Some(other) => Err(Fault::new(place(), format!("status {other} is no success")).fix("status = 201")),
        }
    }
}

fn is_segment(segment: &str) -> bool {
    let word = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(segment);
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}
