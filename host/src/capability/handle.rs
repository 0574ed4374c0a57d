//! The handles a plugin declares in its manifest, beside its statements: each becomes an interface of its own, so that
//! what a guest can name is what it was granted, and nothing is looked up by text.
//!
//! ```text
//! [secret.webhook_key]      dinehub:payments-secret/webhook-key
//! [files.templates]         dinehub:notifications-files/templates
//! ```

use std::collections::BTreeMap;

use wasmtime::component::Linker;

use super::{clock, egress, files, grants::Grants, log, random, secret, wasi};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// What the host offers to every plugin whose lock has it.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// As the component must name it.
    pub interface: &'static str,
    /// The package it stands in.
    pub wit: &'static str,
    pub link: fn(&mut Linker<Grants>) -> Setup<()>,
}

/// The platform's own package: types, and the log.
pub const PLATFORM_WIT: &str = include_str!("../../../wit/dinehub-platform@1.0.0/platform.wit");

/// Every interface of the host's own. There is no other.
pub const OFFERS: [Offer; 3] = [
    Offer { interface: log::INTERFACE, wit: PLATFORM_WIT, link: log::link },
    Offer { interface: clock::INTERFACE, wit: clock::WIT, link: clock::link },
    Offer { interface: random::INTERFACE, wit: random::WIT, link: random::link },
];

/// The tables of `plugin.toml` that declare handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// By name, in snake case.
    pub secrets: BTreeMap<String, secret::Spec>,
    pub files: BTreeMap<String, files::Spec>,
    pub hosts: BTreeMap<String, egress::Spec>,
}

/// One declared handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    Secret { name: String, spec: secret::Spec },
    Files { name: String, spec: files::Spec },
    Http { name: String, spec: egress::Spec },
}

/// What the handles of one plugin lead to, opened at load.
#[derive(Debug, Default)]
pub struct Opened {
    pub secrets: secret::Secrets,
    pub files: files::Files,
    pub hosts: egress::Hosts,
    /// None for a plugin without bundles of WASI.
    pub wasi: Option<wasi::Opened>,
}

impl Handle {
    /// The name in the manifest.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Secret { name, .. } | Self::Files { name, .. } | Self::Http { name, .. } => name,
        }
    }

    /// The word of its package: `dinehub:<plugin>-<word>`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "secret",
            Self::Files { .. } => "files",
            Self::Http { .. } => "http",
        }
    }

    /// The interface that a component imports for it.
    #[must_use]
    pub fn interface(&self, plugin: &PluginId) -> String {
        let kebab = |name: &str| name.replace('_', "-");
        format!("dinehub:{}-{}/{}", kebab(plugin.as_str()), self.word(), kebab(self.name()))
    }

    /// The lines of the lock that say what it opens.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Secret { name, spec } => {
                spec.uses.iter().map(|one| format!("secret {name} {}", one.name())).collect()
            }
            Self::Http { name, spec } => spec.lines(name),
            Self::Files { name, spec } => {
                let write = spec.quota_bytes.map(|quota| format!("files {name} write, {quota} bytes together"));
                [format!("files {name} read, {} bytes each", spec.bytes_max)].into_iter().chain(write).collect()
            }
        }
    }

    /// Its functions, as they stand in its interface.
    fn wit(&self) -> String {
        match self {
            Self::Secret { spec, .. } => secret::wit(spec),
            Self::Files { spec, .. } => files::wit(spec),
            Self::Http { spec, .. } => egress::wit(spec),
        }
    }

    /// Links its functions.
    pub fn link(&self, linker: &mut Linker<Grants>, plugin: &PluginId) -> Setup<()> {
        let interface = self.interface(plugin);
        match self {
            Self::Secret { name, spec } => secret::link(linker, &interface, name, spec),
            Self::Files { name, spec } => files::link(linker, &interface, name, spec),
            Self::Http { name, .. } => egress::link(linker, &interface, name),
        }
    }
}

impl Declared {
    /// Every handle.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        let secrets = self.secrets.iter().map(|(name, spec)| Handle::Secret { name: name.clone(), spec: spec.clone() });
        let files = self.files.iter().map(|(name, spec)| Handle::Files { name: name.clone(), spec: spec.clone() });
        let hosts = self.hosts.iter().map(|(name, spec)| Handle::Http { name: name.clone(), spec: spec.clone() });
        secrets.chain(files).chain(hosts).collect()
    }

    /// The WIT packages of all handles, by the word in their name; and the packages of types they use.
    #[must_use]
    pub fn wit(&self, plugin: &PluginId) -> BTreeMap<&'static str, String> {
        let mut packages: BTreeMap<&'static str, String> = BTreeMap::new();
        for handle in self.handles().iter().filter(|handle| !handle.wit().is_empty()) {
            let text = packages.entry(handle.word()).or_insert_with(|| {
                let plugin = plugin.as_str().replace('_', "-");
                format!(
                    "// Made by `dinehub plugin bind` from plugin.toml; do not edit.\npackage dinehub:{plugin}-{};\n",
                    handle.word()
                )
            });
            let name = handle.name().replace('_', "-");
            text.push_str(&format!("\ninterface {name} {{\n{}}}\n", handle.wit()));
        }
        packages
    }

    fn ensure_injectable(&self, place: &str, spec: &egress::Spec) -> Setup<()> {
        let Some(egress::Inject { secret, .. }) = &spec.inject else { return Ok(()) };
        let may = self.secrets.get(secret).is_some_and(|secret| secret.uses.contains(&secret::Use::Inject));
        if may {
            return Ok(());
        }
        Err(Fault::new(place, format!("injects `{secret}`, which is no secret that may be injected"))
            .fix(format!("[secret.{secret}] uses = [\"inject\"]")))
    }

    /// A handle's name must be one that WIT and file names can carry, and ask for something within the host's bounds.
    pub fn ensure_sound(&self) -> Setup<()> {
        for handle in self.handles() {
            let place = format!("[{}.{}]", handle.word(), handle.name());
            if !crate::database::privilege::is_name(handle.name()) {
                return Err(
                    Fault::new(place, "has a name that is no name").fix("lower case words joined by single `_`")
                );
            }
            match &handle {
                Handle::Secret { spec, .. } if spec.uses.is_empty() => {
                    return Err(Fault::new(place, "uses nothing").fix(r#"uses = ["sign"], "verify" or "reveal""#));
                }
                Handle::Files { spec, .. } if spec.bytes_max == 0 || spec.bytes_max > files::FILE_BYTES_MAX => {
                    return Err(Fault::new(place, format!("bytes_max must be from 1 to {}", files::FILE_BYTES_MAX)));
                }
                Handle::Http { spec, .. } => {
                    spec.ensure_sound().map_err(|fault| fault.within(&place))?;
                    self.ensure_injectable(&place, spec)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
