//! `dinehub dev`: everything on one machine, from sources to a city that can be ordered from.

mod rebuild;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use nix::fcntl::{Flock, FlockArg};

use self::rebuild::Rebuild;
use super::{
    install,
    outside::{self, Outside},
    project::{Project, place},
    seed,
    serve::stop_signal,
    start::{self, Rings, SECRETS},
};
use crate::{
    config::Config,
    database::{local::Cluster, session::Session},
    error::{Fault, Setup},
    http::route::health,
    plugin::{approval::Admission, build},
    secret::vault::{self, Vault},
    telemetry::{self, Lines},
};

/// The database `dev` makes.
const DATABASE: &str = "dinehub";
/// The identity `dev` makes for itself.
const IDENTITY: &str = "identity.txt";

/// `dinehub dev`
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    pub listen: String,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, default_value = "127.0.0.1:3001", value_name = "ADDRESS")]
    pub admin_listen: String,
    /// Throw the database of the last run away.
    #[arg(long)]
    pub fresh: bool,
    /// Keep database and secrets in this directory, instead of this checkout's own.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Builds, starts, seeds and serves until Ctrl-C; then ends what it started.
pub async fn run(project: &Project, arguments: Arguments) -> Setup<()> {
    let state = arguments.state.clone().map_or_else(|| project.state(), Ok)?;
    let _alone = lock(&state)?;
    if arguments.fresh {
        remove_cluster(&state)?;
    }
    let stage = Stages::start();
    let cluster = {
        let directory = state.join("postgresql");
        tokio::task::spawn_blocking(move || Cluster::start(&directory, &[]))
            .await
            .map_err(Fault::at("PostgreSQL"))??
    };
    stage.done("PostgreSQL runs");
    let served = serve(project, &arguments, &state, &cluster, stage).await;
    // Also when something failed: what was started is stopped.
    let stopped = tokio::task::spawn_blocking(move || cluster.stop()).await.map_err(Fault::at("PostgreSQL"))?;
    served.and(stopped)
}

async fn serve(project: &Project, arguments: &Arguments, state: &Path, cluster: &Cluster, stage: Stages) -> Setup<()> {
    let maintenance = cluster.admin("postgres");
    let packages = build::build_all(&project.workshop(), &maintenance, |line| println!("      {line}")).await?;
    stage.done(&format!("{} plugins are built", packages.len()));
    let (admitted, unapproved) = start::admit_here(&project.book()?, packages)?;
    let rings = open_rings(state, &admitted)?;
    create_database(&maintenance).await?;
    let admin = cluster.admin(DATABASE);
    for plugin in &unapproved {
        println!(
            "      {plugin} is not as plugins/grants.lock has it; it may run here, and nowhere else: dinehub grants diff {plugin}"
        );
    }
    install::install(&admin, &rings, &admitted).await?;
    stage.done("schemas, roles and grants are in place");
    let mut config = Config::default();
    config.http.listen.clone_from(&arguments.listen);
    config.admin.listen.clone_from(&arguments.admin_listen);
    config.plugins.files_directory = project.workshop().source;
    let outside = outside::start(&config.plugins.files_directory, &admitted, &rings).await?;
    config.egress.routes = outside::routes(&outside);
    config.plugins.state_directory = state.join("host");
    config.mail.spool = state.join("mail");
    fs::create_dir_all(&config.mail.spool).map_err(Fault::at(config.mail.spool.display().to_string()))?;
    let _log = telemetry::start_log(Lines::Json, "warn")?;
    let metrics = telemetry::start_metrics()?;
    let host = start::host(&admin, &rings, admitted, project.roles()?, &config).await?;
    let api = start::listen("--listen", &config.http.listen).await?;
    outside.iter().for_each(|one| one.fake.report_to(format!("http://{}", arguments.listen)));
    let operators = start::listen("--admin-listen", &config.admin.listen).await?;
    let health = health::service(std::sync::Arc::clone(&host.app), metrics);
    let operators = tokio::spawn(crate::http::serve::serve(
        operators,
        crate::http::serve::routed(health),
        host.app.bounds,
        std::future::pending(),
    ));
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn({
        let host = host.clone();
        async move {
            host.serve(api, async {
                let _ = stopping.await;
            })
            .await;
        }
    });
    let seed = project.root.join("plugins/seed.json");
    let mark = state.join("seeded");
    let seeded = tokio::select! {
        seeded = seed::run(&seed, &arguments.listen, &host.app.identity, &mark) => Some(seeded),
        () = stop_signal() => None,
    };
    if let Some(seeded) = seeded {
        let seeded = seeded?;
        stage.done("the city is there");
        greet(arguments, state, &host, &seeded, &outside);
        let rebuild = Rebuild { project, state, scratch: &maintenance, admin: &admin, host: &host };
        tokio::select! {
            () = stop_signal() => {}
            ended = rebuild.follow() => ended?,
        }
    }
    println!("\nstopping: requests in flight end first");
    let _ = stop.send(());
    let _ = server.await;
    operators.abort();
    Ok(())
}

fn open_rings(state: &Path, admitted: &[Admission]) -> Setup<Rings> {
    let (secrets, home) = (place(&state.join("secrets"))?, place(state)?);
    let version = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    let names = start::secrets_of(admitted.iter().map(Admission::package));
    let names: Vec<&str> = SECRETS.into_iter().chain(names.iter().map(String::as_str)).collect();
    vault::create(&secrets, &home, IDENTITY, &names, &version)?;
    let vault = Vault::open(secrets, &home, IDENTITY)?;
    Rings::open(&vault)?.with_plugins(&vault, admitted)
}

async fn create_database(maintenance: &crate::database::target::Target) -> Setup<()> {
    let session = Session::open(maintenance).await?;
    let known = session.query("select 1 from pg_database where datname = $1", &[&DATABASE]).await;
    if known.map_err(session.fault())?.is_empty() {
        session.run(&format!("create database {DATABASE}")).await?;
    }
    Ok(())
}

/// One `dev` per checkout: two would fight over one database.
fn lock(state: &Path) -> Setup<Flock<File>> {
    let shown = state.display().to_string();
    fs::create_dir_all(state).map_err(Fault::at(&shown))?;
    let file = File::options().create(true).append(true).open(state.join("dev.lock")).map_err(Fault::at(&shown))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
        Fault::new(shown, "another `dinehub dev` of this checkout is running").fix("stop it first (Ctrl-C there)")
    })
}

fn remove_cluster(state: &Path) -> Setup<()> {
    let directory = state.join("postgresql");
    if directory.join("data/PG_VERSION").exists() {
        // Adopts a server that a killed run left behind, so that it can be stopped.
        Cluster::start(&directory, &[])?.stop()?;
    }
    for gone in [directory, state.join("seeded")] {
        let removed = if gone.is_dir() { fs::remove_dir_all(&gone) } else { fs::remove_file(&gone) };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Fault::new(gone.display().to_string(), error.to_string()));
        }
    }
    Ok(())
}

/// Says what is done, and how long it took.
struct Stages(Instant);

impl Stages {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn done(&self, what: &str) {
        println!("{:>4.1}s {what}", self.0.elapsed().as_secs_f32());
    }
}

fn greet(arguments: &Arguments, state: &Path, host: &start::Host, logins: &[seed::Login], outside: &[Outside]) {
    let (api, admin) = (&arguments.listen, &arguments.admin_listen);
    let line = |url: String, what: &str| println!("  {url:<44} {what}");
    println!("\nDineHub serves:");
    for plugin in host.app.edition().registry.iter() {
        let manifest = &plugin.package.manifest;
        line(format!("http://{api}{}", manifest.prefix()), &manifest.description);
    }
    line(format!("http://{api}/docs"), "The API, to look at and try.");
    line(format!("http://{api}/openapi.json"), "The API, for programs.");
    line(format!("http://{admin}/readyz"), "Health; also /livez and /metrics.");
    if !outside.is_empty() {
        println!("\nServices outside are fakes, and show what they were asked:");
    }
    for one in outside {
        line(format!("http://{}/", one.address), &format!("{}, for {}.", one.origin, one.plugin));
    }
    println!("\nDemo logins:");
    for login in logins {
        println!("  {:<30} {:<28} {}", login.email, login.password, login.roles.join(", "));
    }
    println!("\nLetters: {}", state.join("mail").display());
    println!("Database: psql -h {} -U postgres {DATABASE}", state.join("postgresql").display());
    println!("Edit a plugin and it is served anew. Ctrl-C stops everything; the data stays. `--fresh` starts over.\n");
}
