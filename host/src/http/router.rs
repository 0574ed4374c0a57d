//! Which route a method and path mean. Host actions and plugin functions stand in one table, so that one rule check covers
//! both and one golden file shows all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, header::InvalidHeaderValue},
};

use crate::{
    access::policy::Rule,
    error::{Error, Fault, Setup},
    http::{
        forward::raw,
        meter::Meters,
        rate::{Limiter, Rates},
        route::Action,
    },
    id::Denial,
    plugin::{
        contract::{Endpoint, Parameter},
        manifest::{self, Deprecation, Manifest, Method},
        registry::{Export, Plugin, Registry},
    },
};

/// One method on one path.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// With `{parameters}`: `/api/v1/ordering/orders/{id}`.
    pub pattern: String,
    pub rule: Rule,
    /// What a refusal by the rule is called.
    pub denial: Denial,
    /// How often one account, or else one source, may call it.
    pub limit: Option<Limiter>,
    pub target: Target,
    pub meters: Meters,
}

/// Who answers.
#[derive(Debug)]
pub enum Target {
    Host(Action),
    Plugin(Box<Served>),
}

/// A plugin's function behind a route, resolved at load.
#[derive(Debug)]
pub struct Served {
    pub plugin: Arc<Plugin>,
    pub export: Export,
    pub endpoint: Endpoint,
    pub route: manifest::Route,
    /// Where each parameter of the function comes from, in its order.
    pub sources: Vec<Source>,
    /// Headers of every answer: that this version is deprecated, and until when it is served.
    pub notice: Vec<(HeaderName, HeaderValue)>,
    /// What tells whether the thing that the route changes is still what the client read.
    pub guard: Option<Arc<Guard>>,
}

impl Served {
    /// Adds the notice to an answer.
    pub fn announce(&self, response: &mut Response<Body>) {
        response.headers_mut().extend(self.notice.iter().cloned());
    }
}

/// The function that shows what is at a path: the GET of it that says `etag = true`.
#[derive(Debug)]
pub struct Guard {
    pub export: Export,
    pub endpoint: Endpoint,
    /// As in the manifest.
    pub function: String,
    /// Of the path, or the caller.
    pub sources: Vec<Source>,
    pub rule: Rule,
    pub denial: Denial,
}

impl Guard {
    /// The guard that a route is, with the pattern that it guards.
    fn of(route: &Route) -> Option<(String, Arc<Self>)> {
        let Target::Plugin(served) = &route.target else { return None };
        served.route.etag.then(|| {
            let guard = Self {
                export: served.export,
                endpoint: served.endpoint.clone(),
                function: served.route.function.clone(),
                sources: served.sources.clone(),
                rule: route.rule.clone(),
                denial: route.denial.clone(),
            };
            (route.pattern.clone(), Arc::new(guard))
        })
    }
}

impl Route {
    /// Whether a condition on a request is decided by whoever answers, or changes nothing.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.method.is_safe() || matches!(&self.target, Target::Plugin(served) if served.guard.is_some())
    }

    /// Takes the guard of its path, if it changes what is there.
    fn take_guard(&mut self, guards: &BTreeMap<String, Arc<Guard>>) -> Setup<()> {
        let Target::Plugin(served) = &mut self.target else { return Ok(()) };
        if matches!(self.method, Method::Put | Method::Patch | Method::Delete) {
            served.guard = guards.get(&self.pattern).cloned();
        }
        if served.route.if_match && served.guard.is_none() {
            return Err(Fault::new(
                format!("route {} {}", self.method.as_str(), self.pattern),
                "wants `If-Match`, and nothing at its path has an ETag",
            )
            .fix("`etag = true` on the GET of the same path"));
        }
        Ok(())
    }
}

/// Where a parameter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Caller,
    Body,
    /// The whole request, as it came.
    Raw,
    Path,
    Query,
}

/// The table of all routes.
#[derive(Debug, Default)]
pub struct Router {
    paths: matchit::Router<BTreeMap<&'static str, Arc<Route>>>,
    listed: Vec<Arc<Route>>,
}

impl Router {
    /// Host routes and every route of every plugin; two that could mean the same path are refused.
    pub fn build(host: Vec<Route>, registry: &Registry, rates: &Rates) -> Setup<Self> {
        let mut by_pattern: BTreeMap<String, BTreeMap<&'static str, Arc<Route>>> = BTreeMap::new();
        let plugins = registry.iter().map(served).collect::<Setup<Vec<Vec<Route>>>>()?;
        let mut routes: Vec<Route> = host.into_iter().chain(plugins.into_iter().flatten()).collect();
        let guards: BTreeMap<String, Arc<Guard>> = routes.iter().filter_map(Guard::of).collect();
        for route in &mut routes {
            route.take_guard(&guards)?;
        }
        for mut route in routes {
            let declared = match &route.target {
                Target::Host(_) => None,
                Target::Plugin(served) => served.route.rate,
            };
            route.limit = rates.of_route(route.method.as_str(), &route.pattern, declared)?;
            let methods = by_pattern.entry(route.pattern.clone()).or_default();
            let place = format!("route {} {}", route.method.as_str(), route.pattern);
            if methods.insert(route.method.as_str(), Arc::new(route)).is_some() {
                return Err(Fault::new(place, "is there twice"));
            }
        }
        for name in rates.named() {
            let is_there = name.split_once(' ').is_some_and(|(method, pattern)| {
                by_pattern.get(pattern).is_some_and(|methods| methods.contains_key(method))
            });
            if !is_there {
                tracing::warn!(target: "host", route = name, "rate.routes names a route that is not there");
            }
        }
        let listed = by_pattern.values().flat_map(BTreeMap::values).cloned().collect();
        let mut paths = matchit::Router::new();
        for (pattern, methods) in by_pattern {
            paths.insert(&pattern, methods).map_err(Fault::at(format!("route {pattern}")))?;
        }
        Ok(Self { paths, listed })
    }

    /// Every route, by path and method.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.listed.iter().map(AsRef::as_ref)
    }

    /// The route for a request, and its path parameters. `HEAD` is answered by `GET`.
    pub fn find<'r, 'p>(
        &'r self,
        method: &str,
        path: &'p str,
    ) -> Result<(&'r Arc<Route>, matchit::Params<'r, 'p>), Error> {
        let found = self.paths.at(path).map_err(|_| Error::NotFound)?;
        let wanted = if method == "HEAD" { "GET" } else { method };
        match found.value.get(wanted) {
            Some(route) => Ok((route, found.params)),
            None => Err(Error::MethodNotAllowed(allow(found.value))),
        }
    }

    /// What a path answers, as in `Allow`.
    pub fn allow(&self, path: &str) -> Result<String, Error> {
        self.paths.at(path).map(|found| allow(found.value)).map_err(|_| Error::NotFound)
    }
}

/// `HEAD` follows `GET`, and `OPTIONS` is everywhere.
fn allow(methods: &BTreeMap<&'static str, Arc<Route>>) -> String {
    let mut all: BTreeSet<&str> = methods.keys().copied().collect();
    if all.contains("GET") {
        all.insert("HEAD");
    }
    all.insert("OPTIONS");
    all.into_iter().collect::<Vec<_>>().join(", ")
}

/// A plugin's routes with every parameter's source decided.
fn served(plugin: &Arc<Plugin>) -> Setup<Vec<Route>> {
    let manifest = &plugin.package.manifest;
    manifest.routes.iter().map(|route| resolve(plugin, route)).collect()
}

fn resolve(plugin: &Arc<Plugin>, route: &manifest::Route) -> Setup<Route> {
    let manifest = &plugin.package.manifest;
    let pattern = format!("{}{}", manifest.prefix(), route.path);
    let place = format!("{}: [[route]] {} {:?}", manifest.id, route.method.as_str(), route.path);
    let fault = |what: String| Fault::new(&place, what);
    let contract = &plugin.contract;
    let endpoint = contract.api.get(&route.function);
    let endpoint = endpoint.ok_or_else(|| fault(format!("`api` has no function `{}`", route.function)))?.clone();
    let in_path: Vec<&str> =
        route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let is_raw = |param: &Parameter| route.raw && param.wit == "request" && param.shape == raw::shape();
    let of = |param: &Parameter| if is_raw(param) { Source::Raw } else { source(param, &in_path) };
    let sources: Vec<Source> = endpoint.params.iter().map(of).collect();
    if route.raw && (!sources.contains(&Source::Raw) || sources.contains(&Source::Body)) {
        let what = format!("`raw` needs `{}` to take `request: incoming` and no `body`", route.function);
        return Err(fault(what).fix("use dinehub:http/types@1.0.0.{incoming};"));
    }
    if let Some(orphan) = in_path.iter().find(|name| !endpoint.params.iter().any(|param| param.json == **name)) {
        return Err(fault(format!("`{{{orphan}}}` is no parameter of `{}`", route.function)));
    }
    if sources.contains(&Source::Body) && route.method.is_safe() {
        return Err(fault("a GET has no body".to_owned()).fix("method = \"POST\", or take query parameters"));
    }
    let is_shown_whole = sources.iter().all(|source| matches!(source, Source::Path | Source::Caller));
    if route.etag && !(is_shown_whole && route.method.is_safe()) {
        return Err(fault("an ETag is of one thing: a GET that takes what its path and the caller say".to_owned())
            .fix("remove `etag`"));
    }
    let export = plugin.export(&contract.api_interface, &route.function);
    let export = export.ok_or_else(|| fault(format!("`{}` is not exported", route.function)))?;
    let notice = notice(manifest).map_err(|error| fault(error.to_string()))?;
    let served =
        Served { plugin: Arc::clone(plugin), export, endpoint, route: route.clone(), sources, notice, guard: None };
    let denial = Denial::route(route.method.as_str(), &pattern);
    let (method, rule, target) = (route.method, route.rule(), Target::Plugin(Box::new(served)));
    Ok(Route { method, pattern, rule, denial, limit: None, target, meters: Meters::default() })
}

/// RFC 9745 and RFC 8594.
fn notice(manifest: &Manifest) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
    let headers = manifest.deprecation.iter().flat_map(Deprecation::headers);
    headers.map(|(name, value)| Ok((HeaderName::from_static(name), HeaderValue::from_str(&value)?))).collect()
}

fn source(param: &Parameter, in_path: &[&str]) -> Source {
    match (param.wit.as_str(), param.json.as_str()) {
        ("caller", _) => Source::Caller,
        ("body", _) => Source::Body,
        (_, json) if in_path.contains(&json) => Source::Path,
        _ => Source::Query,
    }
}
