//! Events: a publisher *imports* an interface, a subscriber *exports* the same one, and a call of the first is a call of
//! the second that the host makes later. What the publisher's transaction does not keep was never published.
//!
//! ```text
//! [event.order_events]                    import order-events;        placed(event)  ─▶ platform.event, same transaction
//! publish = true
//! key = "order-id"
//!
//! [event.order_events]                    export dinehub:orders/order-events@1.0.0;   ◀─ one call for each, as the system
//! subscribe = "dinehub:orders/order-events@1.0.0"
//! outbound = true                         it may send requests first: the delivery is then lent out, and taken at the end
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::{Linker, Val};

use super::{
    gate::Function,
    grants::{Grants, Stopped},
};
use crate::{
    database::guest::{Failure, Publication},
    error::{Error, Fault, Setup},
};

/// Bytes of an event's arguments as JSON; the table has the same bound.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a key; the table has the same bound.
const KEY_BYTES_MAX: usize = 255;
/// Events that may stand between a request and one of its effects; beyond, plugins would call each other for ever.
const HOPS_MAX: u32 = 8;

/// One `[event.<name>]`: either published or subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The interface of this name in the plugin's own package, which it imports.
    #[serde(default)]
    pub publish: bool,
    /// A parameter, or a field of a record, in kebab case: events in which it is the same are delivered in their order.
    pub key: Option<String>,
    /// Another plugin's interface, by its exact name, which this plugin exports.
    pub subscribe: Option<String>,
    /// With `subscribe`: the plugin calls a granted host before its first statement, so no transaction is open until then.
    #[serde(default)]
    pub outbound: bool,
}

impl Spec {
    /// Refuses what says both or neither. `name` is the table's.
    pub fn ensure_sound(&self, name: &str) -> Setup<()> {
        let refused = |what: &str| Err(Fault::new(format!("[event.{name}]"), what));
        if !crate::database::privilege::is_name(name) {
            return refused("has a name that is no name").map_err(|f| f.fix("lower case words joined by single `_`"));
        }
        if self.publish == self.subscribe.is_some() {
            return refused("must say either `publish = true` or `subscribe = \"…\"`")
                .map_err(|fault| fault.fix("subscribe = \"dinehub:<plugin>/<interface>@<version>\""));
        }
        if self.publish && self.outbound {
            return refused("is published, and who is told of it says whether it calls out")
                .map_err(|fault| fault.fix("`outbound` where it is subscribed to"));
        }
        if self.subscribe.is_some() && self.key.is_some() {
            return refused("has a key, but the order is the publisher's").map_err(|fault| fault.fix("remove `key`"));
        }
        Ok(())
    }
}

/// An event's arguments as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub key: Option<String>,
    /// A JSON array.
    pub json: String,
}

/// Writes the arguments of one function; the sentence says what is wrong with them. Made where types are known.
pub type Encode = Arc<dyn Fn(&[Val]) -> Result<Payload, String> + Send + Sync>;

/// Links the functions of `interface`; each event goes to all `subscribers`.
pub fn link(
    linker: &mut Linker<Grants>,
    interface: &str,
    functions: impl IntoIterator<Item = (String, Encode)>,
    subscribers: &[String],
) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    let (interface, subscribers): (Arc<str>, Arc<[String]>) = (interface.into(), subscribers.into());
    for (name, encode) in functions {
        let function: Arc<str> = name.as_str().into();
        let (interface, subscribers) = (Arc::clone(&interface), Arc::clone(&subscribers));
        Function::new(&Arc::clone(&interface), &name).link(&mut instance, move |grants, arguments| {
            let payload = prepare(grants, &function, &encode, arguments);
            let (interface, function) = (Arc::clone(&interface), Arc::clone(&function));
            let subscribers = Arc::clone(&subscribers);
            Box::pin(async move {
                publish(grants, &interface, &function, payload?, &subscribers).await?;
                Ok(None)
            })
        })?;
    }
    Ok(())
}

/// Everything that can be wrong with an event before the database hears of it.
fn prepare(grants: &mut Grants, function: &str, encode: &Encode, arguments: &[Val]) -> Result<Payload, Stopped> {
    if grants.is_read_only() {
        return Err(grants.stop_at_fault(format!("published `{function}` in a read-only call")));
    }
    if !grants.meter_mut().event() {
        return Err(grants.stop_at_bound());
    }
    if grants.tree().hops >= HOPS_MAX {
        return Err(grants.stop_at_fault(format!("published `{function}` more than {HOPS_MAX} events from a request")));
    }
    let wrong = match encode(arguments) {
        Ok(payload) if payload.json.len() > PAYLOAD_BYTES_MAX => {
            format!("{} bytes of arguments; at most {PAYLOAD_BYTES_MAX} are stored", payload.json.len())
        }
        Ok(payload) if payload.key.as_ref().is_some_and(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) => {
            format!("a key that is not 1 to {KEY_BYTES_MAX} bytes long")
        }
        Ok(payload) => return Ok(payload),
        Err(why) => why,
    };
    Err(grants.stop_at_fault(format!("published `{function}` with {wrong}")))
}

async fn publish(
    grants: &mut Grants,
    interface: &str,
    function: &str,
    payload: Payload,
    subscribers: &[String],
) -> Result<(), Stopped> {
    if subscribers.is_empty() {
        return Ok(());
    }
    let plugin = grants.plugin().clone();
    let event = Publication {
        publisher: plugin.as_str(),
        interface,
        function,
        key: payload.key.as_deref(),
        payload: &payload.json,
        cause: grants.permit().actor().cause().map(|account| account.0),
        hops: i32::try_from(grants.tree().hops).unwrap_or(i32::MAX),
        subscribers,
    };
    let why = match grants.transaction().publish(&event).await {
        Ok(()) => return Ok(()),
        Err(why) => why,
    };
    Err(match why {
        // A statement had failed before: nothing of this call will last, whatever the guest says.
        Failure::Aborted => grants.stop_at_fault(format!("published `{function}` after a failed statement")),
        Failure::Retry | Failure::Timeout => {
            grants.stop(Error::Unavailable("an event with the same key was in the way".into()))
        }
        Failure::Unavailable(why) => grants.stop(Error::Unavailable(why.into())),
        other => grants.stop(Error::Internal(format!("{plugin}: an event was not stored: {other:?}").into())),
    })
}
