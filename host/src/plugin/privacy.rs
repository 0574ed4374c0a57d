//! What plugins keep about people: told to them, and forgotten when they leave.
//!
//! A plugin that writes who calls into its tables, or whose row policies ask who calls, exports `dinehub:privacy/subject`, or
//! says in `plugin.toml` why what it keeps is about nobody (`[privacy] none = "…"`), which reviewers then sign; admission
//! refuses it otherwise. The host calls the two functions as itself, so a plugin's row policies say what the platform may
//! see and change, apart from what any user may.

use std::{pin::pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wasmtime::component::Val;

use super::{
    admit::PLATFORM_WIT,
    call::{self, Answer},
    contract::{self, Contract, Interface},
    package::Package,
    registry::{Plugin, Registry},
};
use crate::{
    access::{permit, policy::Rule, role::RoleTable},
    capability::{grants::Mode, tree::Tree},
    deadline::within,
    error::{Error, Fault, Setup},
    id::{AccountId, Denial, RequestId},
    identity::actor::Actor,
};

/// The interface that is called.
pub const INTERFACE: &str = "dinehub:privacy/subject@1.0.0";
const WIT: &str = include_str!("../../../wit/dinehub-privacy@1.0.0/subject.wit");
/// A migration marks a column that holds something about a person: `comment on column … is 'personal';`.
const MARK: &str = "is 'personal";
/// A policy that asks who calls: its rows are somebody's.
const ASKS: &str = "platform.caller_id(";
/// What a plugin may say to a person in one place, in characters; what is longer is cut.
const SAID_CHARS_MAX: usize = 300;
/// Remainders of one plugin.
const KEPT_MAX: usize = 20;
/// Calls of one function for one account, at most; and how long they may take together.
const CALLS_MAX: usize = 10_000;
const CALLS_LAST_MAX: Duration = Duration::from_secs(60);
/// What one plugin may tell about one account, in bytes of JSON: the host holds it all.
const TOLD_BYTES_MAX: usize = 8 << 20;

/// `[privacy]` of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Why nothing that the plugin keeps is about a person, for its reviewers.
    pub none: String,
}

/// Refuses a plugin that keeps something about people and cannot forget them.
pub fn ensure_forgets(package: &Package, contract: &Contract) -> Setup<()> {
    let id = &package.manifest.id;
    if let Some(found) = contract.exports.get(INTERFACE) {
        let wanted = contract::signatures(&[("platform.wit", PLATFORM_WIT)], ("subject.wit", WIT))?;
        return match wanted.get(INTERFACE).filter(|wanted| *wanted != found) {
            Some(wanted) => Err(Fault::new(format!("{id}: export `{INTERFACE}`"), difference(found, wanted))),
            None => Ok(()),
        };
    }
    let Some(personal) = personal(package) else { return Ok(()) };
    if package.manifest.privacy.as_ref().is_some_and(|privacy| !privacy.none.trim().is_empty()) {
        return Ok(());
    }
    Err(Fault::new(id.as_str(), format!("{personal}, and it exports no `{INTERFACE}`")).fix(
        "export it (wit/dinehub-privacy@1.0.0), or say in plugin.toml why it is about nobody: [privacy] none = \"…\"",
    ))
}

/// For reviewers: what becomes of what a plugin keeps about people, or its reason why that is nothing.
pub fn line(package: &Package, contract: &Contract) -> Option<String> {
    if forgets(contract) {
        return Some(format!("told and forgotten by {INTERFACE}"));
    }
    package.manifest.privacy.as_ref().map(|privacy| format!("none: {}", privacy.none))
}

/// Whether a plugin can forget people.
pub fn forgets(contract: &Contract) -> bool {
    contract.exports.contains_key(INTERFACE)
}

/// What of a package is about people.
fn personal(package: &Package) -> Option<String> {
    let keeps_caller = |statement: &&crate::database::statement::Statement| {
        statement.ask.writes() && statement.params.iter().any(|param| param.is_caller)
    };
    if let Some(statement) = package.content.statements.iter().find(keeps_caller) {
        return Some(format!("statement {}.{} writes who calls", statement.handle, statement.name));
    }
    let migration =
        |word: &str| package.content.migrations.iter().find(|migration| migration.text.to_lowercase().contains(word));
    let marked = migration(MARK).map(|found| format!("{} marks a column as personal", found.name));
    marked.or_else(|| migration(ASKS).map(|found| format!("{} has rows that are somebody's", found.name)))
}

fn difference(found: &Interface, wanted: &Interface) -> String {
    let other = wanted.iter().find(|(name, signature)| found.get(*name) != Some(*signature));
    other.map_or_else(
        || "has a function too many".to_owned(),
        |(name, signature)| format!("`{name}` must be `{signature}`"),
    )
}

/// Whoever calls plugins about their people.
#[derive(Clone, Debug)]
pub struct Keeper<'a> {
    pub registry: &'a Arc<Registry>,
    pub roles: &'a RoleTable,
}

impl Keeper<'_> {
    /// The plugins that keep something about people.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.registry.newest().filter(|plugin| forgets(&plugin.contract))
    }

    /// Everything a plugin keeps about an account.
    ///
    /// # Errors
    /// 500 when it does not keep to the interface, goes on for more than a minute, or tells more than 8 MiB; 503.
    pub async fn tell(&self, plugin: &Arc<Plugin>, account: AccountId) -> Result<Vec<Value>, Error> {
        in_time(plugin, pin!(self.tell_all(plugin, account))).await
    }

    async fn tell_all(&self, plugin: &Arc<Plugin>, account: AccountId) -> Result<Vec<Value>, Error> {
        let (mut told, mut after) = (Told::default(), Val::Option(None));
        for _ in 0..CALLS_MAX {
            let page = self.call(plugin, "tell", Mode::ReadOnly, account, Some(after)).await?;
            let mut page = record(page).ok_or_else(|| broken(plugin))?;
            let Some(Val::List(things)) = page.remove("things") else { return Err(broken(plugin)) };
            for thing in things {
                thing_json(thing).and_then(|thing| told.add(thing)).ok_or_else(|| broken(plugin))?;
            }
            match page.remove("next") {
                Some(Val::Option(Some(next))) => after = Val::Option(Some(next)),
                _ => return Ok(told.things),
            }
        }
        Err(broken(plugin))
    }

    /// Has a plugin forget an account; what it erased and what stays, as JSON. Errors as [`Keeper::tell`].
    pub async fn erase(&self, plugin: &Arc<Plugin>, account: AccountId) -> Result<Value, Error> {
        in_time(plugin, pin!(self.erase_all(plugin, account))).await
    }

    async fn erase_all(&self, plugin: &Arc<Plugin>, account: AccountId) -> Result<Value, Error> {
        let mut erased = 0_i64;
        for _ in 0..CALLS_MAX {
            let outcome = self.call(plugin, "erase", Mode::ReadWrite, account, None).await?;
            let mut outcome = record(outcome).ok_or_else(|| broken(plugin))?;
            let (Some(Val::S64(count)), Some(Val::List(kept)), Some(Val::Bool(more))) =
                (outcome.remove("erased"), outcome.remove("kept"), outcome.remove("more"))
            else {
                return Err(broken(plugin));
            };
            erased = erased.saturating_add(count);
            if !more {
                let kept: Option<Vec<Value>> = kept.into_iter().take(KEPT_MAX).map(remainder_json).collect();
                return Ok(json!({"erased": erased, "kept": kept.ok_or_else(|| broken(plugin))?}));
            }
        }
        Err(broken(plugin))
    }

    async fn call(
        &self,
        plugin: &Arc<Plugin>,
        function: &str,
        mode: Mode,
        account: AccountId,
        further: Option<Val>,
    ) -> Result<Val, Error> {
        let export = plugin.export(INTERFACE, function).ok_or_else(|| broken(plugin))?;
        let denial = Denial::route("SYSTEM", INTERFACE);
        let permit =
            permit::permit(Actor::system("privacy", Some(account)), &Rule::Authenticated, self.roles, &denial)?;
        let _slot = self.registry.enter(plugin).await?;
        let tree = Tree::root(RequestId::fresh(), plugin.id());
        let grants = plugin.approved().grant(permit, mode, tree, self.registry.callee());
        let arguments: Vec<Val> = [Val::String(account.to_string())].into_iter().chain(further).collect();
        let Answer { value, grants } = call::invoke(plugin, &export, grants, &arguments).await?;
        match value {
            Some(Val::Result(Ok(Some(value)))) => {
                let ended = grants.into_transaction().commit().await;
                ended.map(|()| *value).map_err(|why| call::uncommitted(plugin, why))
            }
            value => call::ensure_done(plugin, Answer { value, grants }).and(Err(broken(plugin))),
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Told {
    things: Vec<Value>,
    bytes: usize,
}

impl Told {
    /// One more; none when that is too much.
    fn add(&mut self, thing: Value) -> Option<()> {
        self.bytes = self.bytes.saturating_add(thing.to_string().len());
        self.things.push(thing);
        (self.bytes <= TOLD_BYTES_MAX).then_some(())
    }
}

/// However many calls it takes, they come to an end.
async fn in_time<T>(
    plugin: &Plugin,
    calls: std::pin::Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    within(CALLS_LAST_MAX, calls).await.unwrap_or_else(|_| Err(broken(plugin)))
}

fn broken(plugin: &Plugin) -> Error {
    Error::PluginFault { plugin: plugin.culprit(), log: format!("does not keep to `{INTERFACE}`") }
}

fn record(value: Val) -> Option<std::collections::BTreeMap<String, Val>> {
    if let Val::Record(fields) = value { Some(fields.into_iter().collect()) } else { None }
}

fn text(value: Option<Val>) -> Option<String> {
    if let Some(Val::String(text)) = value { Some(text) } else { None }
}

fn thing_json(thing: Val) -> Option<Value> {
    let mut thing = record(thing)?;
    let mut members = Map::from_iter([("kind".to_owned(), json!(text(thing.remove("kind"))?))]);
    let Some(Val::List(fields)) = thing.remove("fields") else { return None };
    for field in fields {
        let mut field = record(field)?;
        members.insert(text(field.remove("name"))?, json!(text(field.remove("value"))?));
    }
    Some(Value::Object(members))
}

fn remainder_json(remainder: Val) -> Option<Value> {
    let mut remainder = record(remainder)?;
    let (kind, reason) = (text(remainder.remove("kind"))?, text(remainder.remove("reason"))?);
    let Some(Val::S64(count)) = remainder.remove("count") else { return None };
    let cut = |text: String| text.chars().take(SAID_CHARS_MAX).collect::<String>();
    Some(json!({"kind": cut(kind), "count": count, "reason": cut(reason)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_without_end_is_too_much() {
        let mut told = Told::default();
        let thing = json!({"kind": "order", "note": "x".repeat(1 << 20)});
        let added = (0..).take_while(|_| told.add(thing.clone()).is_some()).take(100).count();
        assert_eq!(added, 7, "eight MiB, less what a thing has besides");
        assert!(told.add(json!({"kind": "a"})).is_none(), "and so it stays");
    }
}
