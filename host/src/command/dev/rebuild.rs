//! After a change below `plugins/`: bind, build, migrate, grant, and serve it from the next request on. What fails is
//! printed, and what worked last goes on.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::OsStr,
    path::{Component, Path},
    time::Instant,
};

use super::open_rings;
use crate::{
    command::{
        install,
        project::Project,
        start::{self, Host},
        watch::Watch,
    },
    database::target::Target,
    error::Setup,
    plugin::{build, package::Package},
};

/// What is rebuilt, from where to where.
#[derive(Debug)]
pub(super) struct Rebuild<'a> {
    pub(super) project: &'a Project,
    pub(super) state: &'a Path,
    /// Where scratch databases may be made.
    pub(super) scratch: &'a Target,
    pub(super) admin: &'a Target,
    pub(super) host: &'a Host,
}

impl Rebuild<'_> {
    /// Follows for as long as it is polled.
    pub(super) async fn follow(&self) -> Setup<()> {
        let source = self.project.workshop().source;
        let mut watch = Watch::of(&source, true, is_source)?;
        let mut is_broken = false;
        loop {
            let changed = watch.next().await?;
            let begun = Instant::now();
            let outcome = self.again(&changed).await;
            let was_broken = std::mem::replace(&mut is_broken, outcome.is_err());
            match outcome {
                Ok(None) if was_broken => println!("      it is what is served again"),
                Ok(None) => {}
                Ok(Some(what)) => println!("{:>4.1}s {what}", begun.elapsed().as_secs_f32()),
                Err(fault) => println!("      {fault}\n      what worked last is still served"),
            }
        }
    }

    /// Says what is served anew; nothing when the change made no difference.
    async fn again(&self, changed: &Path) -> Setup<Option<String>> {
        let shown = changed.strip_prefix(&self.project.root).unwrap_or(changed).display().to_string();
        let is_told = Cell::new(false);
        let tell = |line: &str| {
            if !is_told.replace(true) {
                println!("\n{shown} changed");
            }
            println!("      {line}");
        };
        let packages = build::build_all(&self.project.workshop(), self.scratch, tell).await?;
        let known: BTreeMap<_, _> = {
            let edition = self.host.app.edition();
            let plugins = edition.registry.iter();
            plugins.map(|one| (one.package.manifest.series(), one.package.digest.clone())).collect()
        };
        let is_new = |package: &&Package| known.get(&package.manifest.series()) != Some(&package.digest);
        let mut names: Vec<String> = packages.iter().filter(is_new).map(|one| one.manifest.id.to_string()).collect();
        let gone = known.keys().filter(|series| !packages.iter().any(|one| one.manifest.series() == **series));
        names.extend(gone.map(|(id, _)| format!("{id} no more")));
        if names.is_empty() {
            return Ok(None);
        }
        let (admitted, _) = start::admit_here(&self.project.book()?, packages)?;
        let rings = open_rings(self.state, &admitted)?;
        install::install(self.admin, &rings, &admitted).await?;
        self.host.renew(&rings, admitted, Vec::new()).await?;
        Ok(Some(format!("served anew: {}", names.join(", "))))
    }
}

/// Not what builds and editors leave beside sources.
fn is_source(path: &Path) -> bool {
    let is_hidden = |name: &OsStr| name.to_string_lossy().starts_with('.') || name.to_string_lossy().ends_with('~');
    let is_built = path.components().any(|part| part == Component::Normal(OsStr::new("target")));
    !is_built && path.file_name().is_some_and(|name| !is_hidden(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_and_builds_are_no_sources() {
        for path in ["plugins/target/x.wasm", "plugins/a/src/.lib.rs.swp", "plugins/a/src/lib.rs~", "/"] {
            assert!(!is_source(Path::new(path)), "{path}");
        }
        for path in ["plugins/a/src/lib.rs", "plugins/a/queries/b/c.sql", "plugins/a/plugin.toml"] {
            assert!(is_source(Path::new(path)), "{path}");
        }
    }
}
