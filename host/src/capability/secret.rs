//! Using a secret without seeing it: `[secret.<name>]` in the manifest becomes an interface of its own, with exactly the
//! functions that are asked for. Under `sign` and `verify` the value never enters guest memory; `reveal` is another
//! function, and another line of the lock. Each use is an event of the audit.
//!
//! ```text
//! [secret.webhook_key]            dinehub:payments-secret/webhook-key
//! uses = ["verify"]          →      verify: func(message: string, signature: string) -> bool;
//! ```

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use wasmtime::component::{Linker, Val};

use super::{gate::Function, grants::Grants};
use crate::{
    audit::event::What,
    error::{Error, Fault, Setup},
    secret::{self, ring::Ring},
};

/// One `[secret.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub uses: BTreeSet<Use>,
}

/// What a plugin may do with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// HMAC-SHA256 (RFC 2104) of a message.
    Sign,
    /// Whether such a signature is right, in constant time.
    Verify,
    /// In a header of requests to a granted host: no function, the host adds it.
    Inject,
    /// The value itself.
    Reveal,
}

impl Use {
    /// The function's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Inject => "inject",
            Self::Reveal => "reveal",
        }
    }

    fn wit(self) -> &'static str {
        match self {
            Self::Sign => {
                "  /// HMAC-SHA256 of the message, in lower-case hexadecimal.\n  sign: func(message: string) -> string;\n"
            }
            Self::Verify => {
                "  /// Whether the signature, in hexadecimal, is the message's HMAC-SHA256.\n  verify: func(message: string, signature: string) -> bool;\n"
            }
            Self::Inject => "",
            Self::Reveal => "  /// The secret itself.\n  reveal: func() -> string;\n",
        }
    }
}

/// A plugin's secrets, opened at load.
pub type Secrets = BTreeMap<String, Ring>;

/// The functions of one handle, as they stand in its interface.
#[must_use]
pub fn wit(spec: &Spec) -> String {
    spec.uses.iter().map(|one| one.wit()).collect()
}

/// Links the functions of `interface`: those of `name` that were asked for.
pub fn link(linker: &mut Linker<Grants>, interface: &str, name: &str, spec: &Spec) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    for one in spec.uses.iter().copied().filter(|one| *one != Use::Inject) {
        let name = name.to_owned();
        Function::new(interface, one.name()).link(&mut instance, move |grants, arguments| {
            let given = run(grants, &name, one, arguments);
            Box::pin(async move { given.map(Some) })
        })?;
    }
    Ok(())
}

fn run(grants: &mut Grants, name: &str, one: Use, arguments: &[Val]) -> Result<Val, super::grants::Stopped> {
    let Some(ring) = grants.handles().secrets.get(name) else {
        let plugin = grants.plugin().clone();
        return Err(grants.stop(Error::internal(format!("{plugin}: secret {name} was not opened"))));
    };
    grants.record(|artefact| What::SecretUsed { artefact, secret: name.into(), how: one.name() });
    Ok(match (one, arguments) {
        (Use::Sign, [Val::String(message)]) => Val::String(secret::sign(ring, message.as_bytes())),
        (Use::Verify, [Val::String(message), Val::String(signature)]) => {
            Val::Bool(secret::is_signed(ring, message.as_bytes(), signature))
        }
        (Use::Reveal, []) => Val::String(ring.current.text().expose_secret().to_owned()),
        _ => {
            return Err(grants.stop_at_fault(format!("called `{}` with other arguments than its type has", one.name())));
        }
    })
}
