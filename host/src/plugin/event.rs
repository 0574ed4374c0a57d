//! The event interfaces of one plugin, typed: what it publishes, what it subscribes to, and how the arguments of a call
//! become JSON that waits in the database, and arguments again.
//!
//! A parameter of type `caller` is not stored. Whatever a publisher hands over there, the subscriber is told by the host:
//! `system(<the account that caused the event>)`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wit_parser::{InterfaceId, Resolve, World, WorldKey};

use super::{
    contract::Parameter,
    cursor::Scope,
    json::{self, Json},
    manifest::Manifest,
    shape::{Format, Shape, Shaper, snake},
    value::{Boundary, Reader, Val, write::write},
};
use crate::{
    capability::event::{Encode, Payload, Spec},
    error::{Fault, Setup},
};

/// The functions of one event interface.
pub type Topic = BTreeMap<String, Arc<Event>>;

/// Every event interface of one plugin, by exact name.
#[derive(Clone, Debug, Default)]
pub struct Events {
    pub published: BTreeMap<String, Topic>,
    pub subscribed: BTreeMap<String, Topic>,
    /// Those of `subscribed` that are told outside a transaction.
    pub outbound: BTreeSet<String>,
}

/// One function of an event interface.
#[derive(Clone, Debug)]
pub struct Event {
    params: Vec<Parameter>,
    key: Option<Key>,
}

/// Where the key stands in the arguments: a parameter, or a field of one.
#[derive(Clone, Debug)]
struct Key {
    param: usize,
    field: Option<String>,
}

impl Events {
    /// Those that the manifest declares and the component's world has.
    pub(super) fn read(resolve: &Resolve, world: &World, manifest: &Manifest, version: &str) -> Setup<Self> {
        let mut events = Self::default();
        for (name, spec) in &manifest.events {
            let interface = manifest.event_interface(name, spec, version);
            let place = format!("{}: [event.{name}]", manifest.id);
            let (verb, items, all) = match spec.publish {
                true => ("import", &world.imports, &mut events.published),
                false => ("export", &world.exports, &mut events.subscribed),
            };
            let id = items.keys().find_map(|key| match key {
                WorldKey::Interface(id) if resolve.name_world_key(key) == interface => Some(*id),
                _ => None,
            });
            let Some(id) = id else {
                return Err(Fault::new(place, format!("the component has no {verb} `{interface}`"))
                    .fix(format!("write `{verb} {interface};` in `world plugin`, and use it")));
            };
            if spec.outbound {
                events.outbound.insert(interface.clone());
            }
            all.insert(interface, topic(resolve, id, spec).map_err(|fault| fault.within(place))?);
        }
        Ok(events)
    }
}

fn topic(resolve: &Resolve, id: InterfaceId, spec: &Spec) -> Setup<Topic> {
    // Bounds belong to `api`: an event was made by a plugin that was trusted to.
    let unbounded = BTreeMap::new();
    let mut shaper = Shaper::new(resolve, &unbounded);
    let mut topic = Topic::new();
    let functions = resolve.interfaces.get(id).map(|interface| &interface.functions);
    for (name, function) in functions.into_iter().flatten() {
        if function.result.is_some() {
            return Err(Fault::new(format!("`{name}`"), "gives something back, but nobody waits for an event")
                .fix(format!("{name}: func(…) without a result")));
        }
        let mut params = Vec::with_capacity(function.params.len());
        for param in &function.params {
            let shape = shaper.shape(&param.ty, name, &param.name)?;
            if shape != Shape::Caller {
                ensure_storable(&shape).map_err(|what| Fault::new(format!("`{name}`: `{}`", param.name), what))?;
            }
            params.push(Parameter { wit: param.name.clone(), json: snake(&param.name), shape });
        }
        let key = spec.key.as_deref().map(|key| find_key(&params, key).ok_or_else(|| no_key(name, key))).transpose()?;
        topic.insert(name.clone(), Arc::new(Event { params, key }));
    }
    Ok(topic)
}

fn no_key(function: &str, key: &str) -> Fault {
    let what = format!("has no parameter and no field of a record `{key}` that is a string, an integer or an enum");
    Fault::new(format!("`{function}`"), what).fix("key = the name of one, in kebab case, that every function has")
}

fn find_key(params: &[Parameter], name: &str) -> Option<Key> {
    let is_plain = |shape: &Shape| matches!(shape, Shape::Text { .. } | Shape::Integer { .. } | Shape::Enum(_));
    let direct = params.iter().position(|param| param.wit == name && is_plain(&param.shape));
    if let Some(param) = direct {
        return Some(Key { param, field: None });
    }
    let holds = |param: &Parameter| match &param.shape {
        Shape::Record(record) => record.by_wit(name).is_some_and(|field| is_plain(&field.of)),
        _ => false,
    };
    params.iter().position(holds).map(|param| Key { param, field: Some(name.to_owned()) })
}

/// Refuses what means something only in a request.
fn ensure_storable(shape: &Shape) -> Result<(), String> {
    match shape {
        Shape::Caller => Err("a caller inside another value cannot be stored; make it a parameter".to_owned()),
        Shape::Text { format: Format::Cursor, .. } => Err("a cursor is a place in one list of one caller".to_owned()),
        Shape::List { item, .. } | Shape::Option(item) => ensure_storable(item),
        Shape::Tuple(shapes) => shapes.iter().try_for_each(ensure_storable),
        Shape::Record(record) => record.members.iter().try_for_each(|field| ensure_storable(&field.of)),
        Shape::Variant(variant) => {
            variant.members.iter().filter_map(|case| case.of.as_ref()).try_for_each(ensure_storable)
        }
        _ => Ok(()),
    }
}

fn boundary() -> Boundary<'static> {
    Boundary { sealer: None, scope: Scope { plugin: "", function: "", caller: None } }
}

impl Event {
    /// How the host function of this event writes its arguments.
    #[must_use]
    pub fn encoder(self: &Arc<Self>) -> Encode {
        let event = Arc::clone(self);
        Arc::new(move |arguments| event.encode(arguments))
    }

    /// The arguments as they are stored. What could not be read back is refused here, where its author can be told.
    fn encode(&self, arguments: &[Val]) -> Result<Payload, String> {
        let mut bytes = vec![b'['];
        let stored = self.params.iter().zip(arguments).filter(|(param, _)| param.shape != Shape::Caller);
        for (at, (param, value)) in stored.enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            write(&boundary(), &param.shape, value, &mut bytes).map_err(|what| format!("{}: {what}", param.wit))?;
        }
        bytes.push(b']');
        let json = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        let read = self.decode(&json, &Val::Bool(false))?;
        let key = self.key.as_ref().and_then(|key| key.text(&read));
        Ok(Payload { key, json })
    }

    /// The arguments again, normalised by their types; `caller` stands wherever one is wanted.
    pub fn decode(&self, payload: &str, caller: &Val) -> Result<Vec<Val>, String> {
        let document = json::read(payload.as_bytes()).map_err(|error| error.log().into_owned())?;
        let Json::Array(items) = &document else { return Err("is no JSON array".to_owned()) };
        let mut items = items.iter();
        let mut values = Vec::with_capacity(self.params.len());
        for param in &self.params {
            if param.shape == Shape::Caller {
                values.push(caller.clone());
                continue;
            }
            let boundary = boundary();
            let mut reader = Reader::new(&boundary);
            match reader.body(&param.shape, items.next().unwrap_or(&Json::Null)) {
                Some(value) => values.push(value),
                None => {
                    let wrong = reader.into_violations().into_iter().map(|one| {
                        let place = format!("{}{}", param.json, one.pointer);
                        format!("{place} {}", one.detail)
                    });
                    return Err(wrong.collect::<Vec<_>>().join("; "));
                }
            }
        }
        match items.next() {
            None => Ok(values),
            Some(_) => Err("has more arguments than its function".to_owned()),
        }
    }
}

impl Key {
    fn text(&self, arguments: &[Val]) -> Option<String> {
        let value = match (arguments.get(self.param)?, &self.field) {
            (Val::Record(fields), Some(name)) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)?
            }
            (value, _) => value,
        };
        Some(match value {
            Val::String(text) | Val::Enum(text) => text.clone(),
            Val::S8(n) => n.to_string(),
            Val::U8(n) => n.to_string(),
            Val::S16(n) => n.to_string(),
            Val::U16(n) => n.to_string(),
            Val::S32(n) => n.to_string(),
            Val::U32(n) => n.to_string(),
            Val::S64(n) => n.to_string(),
            Val::U64(n) => n.to_string(),
            _ => return None,
        })
    }
}
