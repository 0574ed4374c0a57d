//! What a component's own binary says: the functions of its `api`, the interfaces it imports, those it offers.
//!
//! wasmtime's dynamic functions check no types, and a host function registered as `@1.2.9` satisfies an import of
//! `@1.0.0`. So admission compares **exact names and whole signatures** itself: every imported function is written out as
//! one line of text in which each named type is spelled down to its primitives, and the lines must be equal.

mod bound;

use std::collections::BTreeMap;

use semver::Version;
use wit_component::DecodedWasm;
use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem};

use super::{
    event::Events,
    manifest::Manifest,
    privacy,
    shape::{Shape, Shaper, snake},
};
use crate::{
    capability::gate::DROP,
    error::{Fault, Setup},
};

/// A decoded component.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The functions of interface `api`, by name.
    pub api: BTreeMap<String, Endpoint>,
    /// The exported interface that holds them, as named in the binary: `dinehub:ordering/api@1.0.0`.
    pub api_interface: String,
    /// Every imported interface that has functions, by exact name.
    pub imports: BTreeMap<String, Interface>,
    /// Every exported interface, by exact name.
    pub exports: BTreeMap<String, Interface>,
    /// The event interfaces that its manifest declares.
    pub events: Events,
    /// What the interface with the functions of its schedules must be called: `dinehub:ordering/schedules@1.0.0`.
    pub schedules_interface: String,
}

/// Signatures by function name.
pub type Interface = BTreeMap<String, String>;

/// One function of `api`, as the HTTP boundary sees it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub name: String,
    pub params: Vec<Parameter>,
    /// What `ok` carries.
    pub gives: Option<Shape>,
}

/// One parameter of an [`Endpoint`].
#[derive(Clone, Debug)]
pub struct Parameter {
    pub wit: String,
    pub json: String,
    pub shape: Shape,
}

/// Decodes `component` and shapes its `api` under the manifest's constraints.
pub fn read(manifest: &Manifest, component: &[u8]) -> Setup<Contract> {
    let place = manifest.id.as_str();
    bound::ensure_few_types(place, component)?;
    let (resolve, world) = match bound::with_room(place, || wit_component::decode(component))? {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(DecodedWasm::WitPackage(..)) => return Err(Fault::new(place, "is a WIT package, not a component")),
        Err(error) => return Err(Fault::new(place, format!("is no component: {error:#}"))),
    };
    bound::ensure_short(place, &resolve)?;
    let reader = Reader { resolve: &resolve, place };
    let (imports, exports) = reader.interfaces(world)?;
    let prefix = format!("dinehub:{}/api@", kebab(place));
    let is_ours = |name: &str| {
        let version: Option<Version> = name.strip_prefix(&prefix).and_then(|text| text.parse().ok());
        version.is_some_and(|version| version.major == manifest.version.major && version <= manifest.version)
    };
    let Some((api_interface, api)) = reader.exported(world, is_ours) else {
        let found = exports.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Fault::new(place, format!("exports no `{prefix}{}` (exports: {found})", manifest.version)).fix(
            "the WIT package must be named `dinehub:<id>@<version>`, of plugin.toml's major version and not newer than \
             it, and its world must `export api;`",
        ));
    };
    let mut shaper = Shaper::new(&resolve, &manifest.constraints);
    let mut endpoints = BTreeMap::new();
    let functions = resolve.interfaces.get(api).map(|interface| &interface.functions);
    for function in functions.into_iter().flatten().map(|(_, function)| function) {
        endpoints.insert(function.name.clone(), reader.endpoint(function, &mut shaper)?);
    }
    shaper.ensure_all_used().map_err(|fault| fault.within(place))?;
    let world = resolve.worlds.get(world).ok_or_else(|| Fault::new(place, "has no world"))?;
    let version = api_interface.rsplit('@').next().unwrap_or_default();
    let events = Events::read(&resolve, world, manifest, version)?;
    let schedules_interface = format!("dinehub:{}/schedules@{version}", kebab(place));
    Ok(Contract { api: endpoints, api_interface, imports, exports, events, schedules_interface })
}

impl Contract {
    /// The version of the plugin's own WIT package.
    #[must_use]
    pub fn version(&self) -> &str {
        self.api_interface.rsplit('@').next().unwrap_or_default()
    }

    /// The interfaces that other plugins may call: not `api`, nor what only the host calls.
    pub fn offers(&self) -> impl Iterator<Item = (&String, &Interface)> {
        let is_hosts = |name: &String| {
            *name == self.api_interface
                || *name == self.schedules_interface
                || name == privacy::INTERFACE
                || self.events.subscribed.contains_key(name)
        };
        self.exports.iter().filter(move |(name, _)| !is_hosts(name))
    }
}

/// The signatures of every interface in WIT source text; `dependencies` are pushed first.
pub fn signatures(dependencies: &[(&str, &str)], main: (&str, &str)) -> Setup<BTreeMap<String, Interface>> {
    let mut resolve = Resolve::default();
    for (path, text) in dependencies.iter().chain([&main]) {
        resolve.push_source(path, text).map_err(|error| Fault::new(*path, format!("{error:#}")))?;
    }
    let reader = Reader { resolve: &resolve, place: main.0 };
    let mut all = BTreeMap::new();
    for (id, _) in &resolve.interfaces {
        if let Some(name) = resolve.id_of(id) {
            all.insert(name, reader.interface(id)?);
        }
    }
    Ok(all)
}

/// WIT names join words by `-` where plugin ids use `_`.
#[must_use]
pub fn kebab(snake: &str) -> String {
    snake.replace('_', "-")
}

struct Reader<'a> {
    resolve: &'a Resolve,
    place: &'a str,
}

impl Reader<'_> {
    fn interfaces(&self, world: WorldId) -> Setup<(BTreeMap<String, Interface>, BTreeMap<String, Interface>)> {
        let Some(world) = self.resolve.worlds.get(world) else {
            return Err(Fault::new(self.place, "has no world"));
        };
        let mut sides = [BTreeMap::new(), BTreeMap::new()];
        for (side, items) in sides.iter_mut().zip([&world.imports, &world.exports]) {
            for (key, item) in items {
                match item {
                    WorldItem::Interface { id, .. } => {
                        let name = self.resolve.name_world_key(key);
                        let functions = self.interface(*id)?;
                        // An instance of types alone can do nothing and needs no grant.
                        if !functions.is_empty() {
                            side.insert(name, functions);
                        }
                    }
                    WorldItem::Function(function) => {
                        let name = self.resolve.name_world_key(key);
                        side.insert(name.clone(), BTreeMap::from([(name, self.signature(function))]));
                    }
                    WorldItem::Type { .. } => {}
                }
            }
        }
        let [imports, exports] = sides;
        Ok((imports, exports))
    }

    fn exported(&self, world: WorldId, is_wanted: impl Fn(&str) -> bool) -> Option<(String, InterfaceId)> {
        self.resolve.worlds.get(world)?.exports.iter().find_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } => {
                Some((self.resolve.name_world_key(key), *id)).filter(|(name, _)| is_wanted(name))
            }
            _ => None,
        })
    }

    fn interface(&self, id: InterfaceId) -> Setup<Interface> {
        let Some(interface) = self.resolve.interfaces.get(id) else {
            return Err(Fault::new(self.place, "has an interface that is not there"));
        };
        let functions = interface.functions.iter().map(|(name, function)| (name.clone(), self.signature(function)));
        // A resource of its own runs code when it is dropped; one that it uses is the other interface's.
        let is_resource = |id| self.resolve.types.get(id).is_some_and(|it| it.kind == TypeDefKind::Resource);
        let resources = interface.types.iter().filter(|(_, id)| is_resource(**id));
        let drops = resources.map(|(name, _)| (format!("{DROP}{name}"), "resource".to_owned()));
        Ok(functions.chain(drops).collect())
    }

    fn endpoint(&self, function: &Function, shaper: &mut Shaper<'_>) -> Setup<Endpoint> {
        let at = |fault: Fault| fault.within(format!("{}: api.{}", self.place, function.name));
        let mut params = Vec::with_capacity(function.params.len());
        for param in &function.params {
            let shape = shaper.shape(&param.ty, &function.name, &param.name).map_err(at)?;
            params.push(Parameter { wit: param.name.clone(), json: snake(&param.name), shape });
        }
        let gives = match self.fallible(function) {
            Some(ok) => ok.map(|ty| shaper.shape(&ty, &function.name, "result")).transpose().map_err(at)?,
            None => {
                return Err(Fault::new(
                    format!("{}: api.{}", self.place, function.name),
                    "must give `result<…, problem>` with the platform's `problem`",
                )
                .fix("use dinehub:platform/types@1.0.0.{problem};"));
            }
        };
        Ok(Endpoint { name: function.name.clone(), params, gives })
    }

    /// The `ok` of `result<ok, problem>`; none when the function gives anything else.
    fn fallible(&self, function: &Function) -> Option<Option<Type>> {
        let Some(Type::Id(id)) = function.result else { return None };
        let TypeDefKind::Result(result) = &self.resolve.types.get(id)?.kind else { return None };
        let problem = self.spell(result.err.as_ref()?);
        (problem == PROBLEM).then_some(result.ok)
    }

    fn signature(&self, function: &Function) -> String {
        let params: Vec<String> =
            function.params.iter().map(|param| format!("{}: {}", param.name, self.spell(&param.ty))).collect();
        let result = function.result.as_ref().map(|ty| format!(" -> {}", self.spell(ty))).unwrap_or_default();
        format!("func({}){result}", params.join(", "))
    }

    /// A type down to its primitives: two types are the same exactly when these texts are.
    fn spell(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let Some(definition) = self.resolve.types.get(*id) else { return "?".to_owned() };
        let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| self.spell(ty));
        match &definition.kind {
            TypeDefKind::Type(inner) => self.spell(inner),
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, self.spell(&field.ty)));
                format!("record{{{}}}", join(fields))
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, maybe(&case.ty)));
                format!("variant{{{}}}", join(cases))
            }
            TypeDefKind::Enum(set) => format!("enum{{{}}}", join(set.cases.iter().map(|case| case.name.clone()))),
            TypeDefKind::Flags(set) => format!("flags{{{}}}", join(set.flags.iter().map(|flag| flag.name.clone()))),
            TypeDefKind::Tuple(tuple) => format!("tuple<{}>", join(tuple.types.iter().map(|ty| self.spell(ty)))),
            TypeDefKind::Option(inner) => format!("option<{}>", self.spell(inner)),
            TypeDefKind::List(inner) => format!("list<{}>", self.spell(inner)),
            TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
            TypeDefKind::Resource => self.resource_name(*id),
            TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", self.resource_name(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.resource_name(*id)),
            other => format!("{} {:?}", other.as_str(), definition.name),
        }
    }
}

impl Reader<'_> {
    /// Resources are told apart by the interface they stand in: `wasi:io/poll@0.2.6#pollable`.
    fn resource_name(&self, id: TypeId) -> String {
        let Some(definition) = self.resolve.types.get(id) else { return "?".to_owned() };
        if let TypeDefKind::Type(Type::Id(inner)) = definition.kind {
            return self.resource_name(inner);
        }
        let owner = match definition.owner {
            TypeOwner::Interface(interface) => self.resolve.id_of(interface).unwrap_or_default(),
            TypeOwner::World(_) | TypeOwner::None => String::new(),
        };
        format!("{owner}#{}", definition.name.as_deref().unwrap_or_default())
    }
}

/// The platform's `problem`, spelled.
const PROBLEM: &str = "variant{invalid(list<record{pointer: string, detail: string}>), denied(string), not-found(_), \
                       conflict(record{code: string, detail: string}), unavailable(string)}";

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
