//! Following what is installed while requests are served: the record changed, or an operator sent SIGHUP.
//!
//! Everything is checked again from the beginning, as at a start: the lock, the artefacts, the database. Only then does a
//! new edition take the place of the old one, whole and between two requests. What fails on the way changes nothing; it
//! is logged, and told to whoever waits for it.

use std::collections::BTreeSet;

use tokio::signal::unix::{SignalKind, signal};

use super::{
    install, serve,
    start::Host,
    stock::{self, Stock},
    watch::Watch,
};
use crate::{
    config::Config,
    database::target::Target,
    error::{Fault, Setup},
    plugin::store::{self, Outcome, Store},
};

/// What a host follows.
#[derive(Debug)]
pub struct Follow {
    host: Host,
    place: Target,
    config: Config,
    store: Store,
}

impl Follow {
    /// For `host`, which serves what `change` says.
    pub fn new(host: Host, place: Target, config: &Config, change: u64) -> Setup<Self> {
        let follow = Self { host, place, config: config.clone(), store: stock::make(config)? };
        follow.store.tell(&Outcome { change, fault: None })?;
        Ok(follow)
    }

    /// Follows for as long as it is polled.
    pub async fn run(self) -> Setup<()> {
        let mut watch = Watch::of(&self.config.plugins.state_directory, false, |path| path.ends_with(store::RECORD))?;
        let mut asked = signal(SignalKind::hangup()).map_err(Fault::at("SIGHUP"))?;
        loop {
            tokio::select! {
                changed = watch.next() => drop(changed?),
                _ = asked.recv() => {}
            }
            let change = self.store.record().ok().flatten().map_or(0, |record| record.change);
            let fault = match self.renew().await {
                Ok(plugins) => {
                    tracing::info!(target: "host", change, plugins, "serves what is installed");
                    None
                }
                Err(fault) => {
                    tracing::error!(target: "host", change, %fault, "goes on with what it served before");
                    Some(fault.to_string())
                }
            };
            if let Err(fault) = self.store.tell(&Outcome { change, fault }) {
                tracing::warn!(target: "host", %fault, "outcome not told");
            }
        }
    }

    /// Serves what is installed now; gives how many plugins that are.
    async fn renew(&self) -> Setup<usize> {
        let (rings, stock) = serve::read_admitted(&self.config, &serve::open_vault(&self.config)?)?;
        // Switching off must work whatever state the database is in.
        if !self.has_all(&stock) {
            install::ensure(&self.place, &rings, stock.all()).await?;
        }
        let plugins = stock.serving.len();
        self.host.renew(&rings, stock.serving, stock.disabled).await?;
        Ok(plugins)
    }

    /// Whether everything that is to be served is being served already.
    fn has_all(&self, stock: &Stock) -> bool {
        let edition = self.host.app.edition();
        let known: BTreeSet<&str> = edition.registry.iter().map(|plugin| plugin.package.digest.as_str()).collect();
        stock.serving.iter().all(|admission| known.contains(admission.package().digest.as_str()))
    }
}
