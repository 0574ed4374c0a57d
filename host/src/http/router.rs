//! Which route a method and path mean. Host actions and plugin functions stand in one table, so that one rule check covers
//! both and one golden file shows all.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, header::InvalidHeaderValue},
};

use crate::{
    access::policy::Rule,
    error::{Error, Fault, Setup},
    http::{forward::raw, meter::Meters, request::Params, route::Action},
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
}

impl Served {
    /// Adds the notice to an answer.
    pub fn announce(&self, response: &mut Response<Body>) {
        response.headers_mut().extend(self.notice.iter().cloned());
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
    pub fn build(host: Vec<Route>, registry: &Registry) -> Setup<Self> {
        let mut by_pattern: BTreeMap<String, BTreeMap<&'static str, Arc<Route>>> = BTreeMap::new();
        let plugins = registry.iter().map(served).collect::<Setup<Vec<Vec<Route>>>>()?;
        for route in host.into_iter().chain(plugins.into_iter().flatten()) {
            let methods = by_pattern.entry(route.pattern.clone()).or_default();
            let place = format!("route {} {}", route.method.as_str(), route.pattern);
            if methods.insert(route.method.as_str(), Arc::new(route)).is_some() {
                return Err(Fault::new(place, "is there twice"));
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
    pub fn find<'p>(&'p self, method: &str, path: &'p str) -> Result<(&'p Arc<Route>, Params<'p>), Error> {
        let found = self.paths.at(path).map_err(|_| Error::NotFound)?;
        let wanted = if method == "HEAD" { "GET" } else { method };
        match found.value.get(wanted) {
            Some(route) => Ok((route, found.params)),
            None => Err(Error::MethodNotAllowed(found.value.keys().copied().collect::<Vec<_>>().join(", "))),
        }
    }
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
    let export = plugin.export(&contract.api_interface, &route.function);
    let export = export.ok_or_else(|| fault(format!("`{}` is not exported", route.function)))?;
    let notice = notice(manifest).map_err(|error| fault(error.to_string()))?;
    let served = Served { plugin: Arc::clone(plugin), export, endpoint, route: route.clone(), sources, notice };
    let denial = Denial::route(route.method.as_str(), &pattern);
    let (method, rule, target) = (route.method, route.rule(), Target::Plugin(Box::new(served)));
    Ok(Route { method, pattern, rule, denial, target, meters: Meters::default() })
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
