//! The roles there are and what each includes, read from `plugins/roles.toml`.
//!
//! ```
//! use dinehub::access::role::RoleTable;
//! let table = RoleTable::read("roles.toml", r#"
//!     newcomer = "USER"
//!     [role.USER]
//!     [role.ADMIN]
//!     includes = ["*"]
//! "#).unwrap();
//! let admin = "ADMIN".parse().unwrap();
//! assert_eq!(table.expand(&[admin]).len(), 2);
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use serde::Deserialize;

use crate::{
    error::{Fault, Setup},
    id::Role,
    identity::token::Assurance,
};

/// Role sets that are remembered expanded. There are as many as combinations in use: a handful.
const REMEMBERED_MAX: usize = 1024;
const EVERYTHING: &str = "*";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    newcomer: Role,
    role: BTreeMap<Role, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    includes: Vec<String>,
    /// Holds only for who logged in with a second factor.
    #[serde(default)]
    mfa: bool,
}

/// Sets of direct roles, each with the set of held roles that all actors with it share.
type Expanded = HashMap<Box<[Role]>, Arc<[Role]>>;

/// Every role and all it includes.
#[derive(Debug)]
pub struct RoleTable {
    newcomer: Role,
    closure: BTreeMap<Role, BTreeSet<Role>>,
    /// What is left of it without a second factor: neither a role that wants one, nor what is held through it.
    weak: BTreeMap<Role, BTreeSet<Role>>,
    remembered: RwLock<Expanded>,
    remembered_weak: RwLock<Expanded>,
}

impl RoleTable {
    /// Reads the text of the file at `place`. Refuses an included role that does not exist and roles that include each
    /// other.
    pub fn read(place: &str, text: &str) -> Setup<Self> {
        let file: File = toml::from_str(text).map_err(Fault::at(place))?;
        let mut includes = BTreeMap::new();
        for (role, entry) in &file.role {
            includes.insert(role.clone(), included(place, role, entry, &file.role)?);
        }
        let mut closure = BTreeMap::new();
        for role in includes.keys() {
            closure.insert(role.clone(), close(place, role, &includes)?);
        }
        let strong: BTreeSet<&Role> = file.role.iter().filter(|(_, entry)| entry.mfa).map(|(role, _)| role).collect();
        let left = |roles: &BTreeSet<Role>| roles.iter().filter(|role| !strong.contains(role)).cloned().collect();
        let kept = includes.iter().filter(|(role, _)| !strong.contains(role));
        let without: BTreeMap<Role, BTreeSet<Role>> = kept.map(|(role, roles)| (role.clone(), left(roles))).collect();
        let mut weak = BTreeMap::new();
        for role in without.keys() {
            weak.insert(role.clone(), close(place, role, &without)?);
        }
        if !closure.contains_key(&file.newcomer) {
            return Err(Fault::new(format!("{place}: newcomer"), format!("there is no role {}", file.newcomer))
                .fix(format!("add `[role.{}]`", file.newcomer)));
        }
        if strong.contains(&file.newcomer) {
            return Err(Fault::new(format!("{place}: newcomer"), "nobody registers with a second factor")
                .fix(format!("remove `mfa` from `[role.{}]`", file.newcomer)));
        }
        let (remembered, remembered_weak) = (RwLock::default(), RwLock::default());
        Ok(Self { newcomer: file.newcomer, closure, weak, remembered, remembered_weak })
    }

    /// The role of a person who registers.
    #[must_use]
    pub fn newcomer(&self) -> &Role {
        &self.newcomer
    }

    /// The roles that include every role.
    pub fn unlimited(&self) -> impl Iterator<Item = &Role> {
        self.closure.iter().filter(|(_, held)| held.len() == self.closure.len()).map(|(role, _)| role)
    }

    /// Every role, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.closure.keys()
    }

    /// Whether there is such a role. To be asked before a role is given to an account or named by a route.
    #[must_use]
    pub fn has(&self, role: &Role) -> bool {
        self.closure.contains_key(role)
    }

    /// The roles held by whoever holds `direct`, in order. A role that is no longer in the table gives nothing. The same
    /// set is expanded once and shared afterwards.
    #[must_use]
    pub fn expand(&self, direct: &[Role]) -> Arc<[Role]> {
        expand(&self.closure, &self.remembered, direct)
    }

    /// The same for somebody who proved themselves like this: without a second factor, roles that want one give nothing.
    #[must_use]
    pub fn expand_for(&self, direct: &[Role], assurance: Assurance) -> Arc<[Role]> {
        match assurance {
            Assurance::Mfa => self.expand(direct),
            Assurance::Pwd => expand(&self.weak, &self.remembered_weak, direct),
        }
    }
}

fn expand(closure: &BTreeMap<Role, BTreeSet<Role>>, remembered: &RwLock<Expanded>, direct: &[Role]) -> Arc<[Role]> {
    if let Some(known) = remembered.read().unwrap_or_else(PoisonError::into_inner).get(direct) {
        return known.clone();
    }
    let held: BTreeSet<&Role> = direct.iter().filter_map(|role| closure.get(role)).flatten().collect();
    let held: Arc<[Role]> = held.into_iter().cloned().collect();
    let mut remembered = remembered.write().unwrap_or_else(PoisonError::into_inner);
    if remembered.len() < REMEMBERED_MAX {
        remembered.insert(direct.into(), held.clone());
    }
    held
}

/// The roles an entry names, with `*` spelled out.
fn included(place: &str, role: &Role, entry: &Entry, all: &BTreeMap<Role, Entry>) -> Setup<BTreeSet<Role>> {
    let mut roles = BTreeSet::new();
    for name in &entry.includes {
        if name == EVERYTHING {
            roles.extend(all.keys().filter(|other| *other != role).cloned());
            continue;
        }
        let known = name.parse::<Role>().ok().filter(|included| all.contains_key(included));
        roles.insert(known.ok_or_else(|| {
            Fault::new(format!("{place}: role.{role}.includes"), format!("there is no role {name:?}"))
                .fix(format!("add `[role.{name}]`, or take it out of the list"))
        })?);
    }
    Ok(roles)
}

/// A role and everything reachable from it.
fn close(place: &str, role: &Role, includes: &BTreeMap<Role, BTreeSet<Role>>) -> Setup<BTreeSet<Role>> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Role> = includes.get(role).into_iter().flatten().collect();
    while let Some(included) = next.pop() {
        if included == role {
            return Err(Fault::new(format!("{place}: role.{role}.includes"), "includes itself through another role")
                .fix("take one of the two out: roles that include each other are the same role"));
        }
        if reached.insert(included.clone()) {
            next.extend(includes.get(included).into_iter().flatten());
        }
    }
    reached.insert(role.clone());
    Ok(reached)
}
