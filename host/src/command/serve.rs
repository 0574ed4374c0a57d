//! `dinehub serve`: built plugins, an existing database, secrets from age files. It builds nothing and seeds nothing.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    project::{place, read_book, read_roles},
    start::{self, Rings},
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
    let config = Config::read(arguments.config.as_deref(), env::vars())?;
    if arguments.dump_config {
        print!("{}", config.dump()?);
        return Ok(());
    }
    if config.database.url.is_empty() {
        return Err(Fault::new("database.url", "is not set").fix("export DATABASE_URL=postgres://user@host/database"));
    }
    let _log = telemetry::start_log(Lines::Json, &config.log.filter)?;
    let metrics = telemetry::start_metrics()?;
    let vault = open_vault(&config)?;
    let admin = Target::parse(&config.database.url)?;
    // The login of DATABASE_URL may need a password; its kernel may vouch for it instead.
    let admin = match vault.find_text("database_admin")? {
        Some(password) => admin.login(&admin.user, password),
        None => admin,
    };
    let packages = read_packages(&config.plugins.directory)?;
    let roles = read_roles(&config.plugins.roles_file)?;
    let book = read_book(&config.plugins.lock_file, &config.plugins.reviewers_file)?;
    let admitted = book.admit(packages)?;
    let rings = Rings::open(&vault)?.with_plugins(&vault, &admitted)?;
    start::install(&admin, &rings, &admitted).await?;
    let host = start::host(&admin, &rings, admitted, roles, &config).await?;
    let api = start::listen("http.listen", &config.http.listen).await?;
    let admin_port = start::listen("admin.listen", &config.admin.listen).await?;
    tracing::info!(target: "host", listen = %config.http.listen, admin = %config.admin.listen, "ready");
    let operators = tokio::spawn(axum_serve(admin_port, &host, metrics));
    host.serve(api, stop_signal()).await;
    operators.abort();
    tracing::info!(target: "host", "stopped");
    Ok(())
}

fn axum_serve(
    listener: tokio::net::TcpListener,
    host: &start::Host,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> impl Future<Output = ()> + use<> {
    let service = health::service(std::sync::Arc::clone(&host.app), metrics);
    crate::http::serve::serve(listener, crate::http::serve::routed(service), host.app.bounds, std::future::pending())
}

/// Ends when the process is told to.
pub async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
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
