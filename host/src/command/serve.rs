//! `dinehub serve`: built plugins, a database that `dinehub db apply` prepared, secrets from age files. It builds nothing,
//! seeds nothing and repairs nothing: it compares the database with the artefacts, and refuses when they differ.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;

use super::{
    install,
    plugin::installed::lock_serving,
    project::{place, read_roles},
    reload::Follow,
    start::{self, Rings},
    stock::Stock,
};
use crate::{
    config::Config,
    database::target::Target,
    error::{Fault, Setup},
    http::route::health,
    plugin::package::Package,
    secret::vault::Vault,
    telemetry::{self, Lines},
};

/// `dinehub serve`
///
/// It logs in as the host's own role and the plugins', never as an administrator, and changes nothing: a database that is
/// not exactly what the plugins want is refused, by name. Prepare it with `dinehub db apply`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// A configuration file; variables like DINEHUB_HTTP__LISTEN, and DATABASE_URL, override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every configuration key with its present value, and stop.
    #[arg(long)]
    pub dump_config: bool,
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(arguments: Arguments) -> Setup<()> {
    let mut watch = Stopwatch(Instant::now());
    let config = Config::read(arguments.config.as_deref(), env::vars())?;
    if arguments.dump_config {
        print!("{}", config.dump()?);
        return Ok(());
    }
    let _log = telemetry::start_log(Lines::Json, &config.log.filter)?;
    let metrics = telemetry::start_metrics()?;
    let place = read_place(&config)?;
    let _alone = lock_serving(&config.plugins.state_directory)?;
    let (rings, stock) = read_admitted(&config, &open_vault(&config)?)?;
    let roles = read_roles(&config.plugins.roles_file)?;
    let read_ms = watch.lap_ms();
    install::ensure(&place, &rings, stock.all()).await?;
    let verify_ms = watch.lap_ms();
    let (change, served) = (stock.change, (stock.serving, stock.disabled));
    let host = start::host_granting(&place, &rings, served, roles, &config, start::everything).await?;
    let follow = Follow::new(host.clone(), place, &config, change)?;
    let api = start::listen("http.listen", &config.http.listen).await?;
    let admin_port = start::listen("admin.listen", &config.admin.listen).await?;
    let stop = stop_signal();
    let load_ms = watch.lap_ms();
    let (listen, admin) = (&config.http.listen, &config.admin.listen);
    tracing::info!(target: "host", %listen, %admin, read_ms, verify_ms, load_ms, "ready");
    host.sweep();
    let operators = tokio::spawn(axum_serve(admin_port, &host, metrics));
    tokio::select! {
        () = host.serve(api, stop) => {}
        // It ends only when files cannot be watched: then nobody would notice that installing does nothing.
        ended = follow.run() => ended?,
    }
    operators.abort();
    tracing::info!(target: "host", "stopped");
    Ok(())
}

/// Where a start takes its time: secrets and artefacts are read, the database is compared, plugins are loaded.
struct Stopwatch(Instant);

impl Stopwatch {
    /// Milliseconds since the last time, or the beginning.
    fn lap_ms(&mut self) -> u64 {
        let last = std::mem::replace(&mut self.0, Instant::now());
        u64::try_from(self.0.duration_since(last).as_millis()).unwrap_or(u64::MAX)
    }
}

fn axum_serve(
    listener: tokio::net::TcpListener,
    host: &start::Host,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> impl Future<Output = ()> + use<> {
    let service = health::service(std::sync::Arc::clone(&host.app), metrics);
    crate::http::serve::serve(listener, crate::http::serve::routed(service), host.app.bounds, std::future::pending())
}

/// Ends when the process is told to. It listens from this call on: a signal that comes before anybody waits is not lost, and
/// does not end the process in the middle of what it does.
pub fn stop_signal() -> impl Future<Output = ()> {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    async move {
        let terminate = async {
            match terminate {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = terminate => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

/// The database that the configuration names, and who migrates it.
pub fn read_place(config: &Config) -> Setup<Target> {
    if config.database.url.is_empty() {
        return Err(Fault::new("database.url", "is not set").fix("export DATABASE_URL=postgres://user@host/database"));
    }
    Target::parse(&config.database.url)
}

/// The login of DATABASE_URL. It may need a password; its kernel may vouch for it instead.
pub fn read_admin(config: &Config, vault: &Vault) -> Setup<Target> {
    let place = read_place(config)?;
    Ok(match vault.find_text("database_admin")? {
        Some(password) => place.login(&place.user, password),
        None => place,
    })
}

/// The artefacts that the lock approves, and every secret that those which are served and the host use.
pub fn read_admitted(config: &Config, vault: &Vault) -> Setup<(Rings, Stock)> {
    let stock = Stock::read(config)?;
    Ok((Rings::open(vault)?.with_plugins(vault, &stock.serving)?, stock))
}

/// The vault that the configuration names.
pub fn open_vault(config: &Config) -> Setup<Vault> {
    let file = &config.secrets.identity_file;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(home), Some(name)) = (file.parent(), name) else {
        return Err(Fault::new("secrets.identity_file", "names no file"));
    };
    Vault::open(place(&config.secrets.directory)?, &place(home)?, &name)
}

/// Every `*.wasm` in a directory.
pub fn read_packages(directory: &Path) -> Setup<Vec<Package>> {
    let shown = directory.display().to_string();
    let mut packages = Vec::new();
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(Fault::at(&shown))? {
        paths.push(entry.map_err(Fault::at(&shown))?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "wasm")) {
        let place = path.display().to_string();
        packages.push(Package::open(&place, fs::read(path).map_err(Fault::at(&place))?)?);
    }
    if packages.is_empty() {
        return Err(
            Fault::new(shown, "holds no plugin (*.wasm)").fix("dinehub plugin build, then set plugins.directory")
        );
    }
    Ok(packages)
}
