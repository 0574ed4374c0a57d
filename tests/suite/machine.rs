//! An operator's machine: the real binary, a database, age files and a lock on disk.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    command::start::{self, Rings, SECRETS},
    plugin::approval::Admission,
    secret::vault::{Place, Vault, create},
};
use harness::{
    database::Database,
    server::{artefacts, features, root, write_book},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub(crate) const IDENTITY: &str = "identity.txt";
/// The configuration file, where there is one.
const CONFIG: &str = "dinehub.toml";

pub(crate) struct Machine {
    pub(crate) database: Database,
    pub(crate) home: tempfile::TempDir,
    artefacts: PathBuf,
    /// Of every process in turn.
    address: SocketAddr,
}

impl Machine {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let packages = features().await;
        // A port that was free a moment ago; whoever took it since makes `serve` fail, and that is seen.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let machine = Self { database: Database::fresh().await, home, artefacts: artefacts().await, address };
        let names = start::secrets_of(packages.iter());
        let names: Vec<&str> = SECRETS.into_iter().chain(names.iter().map(String::as_str)).collect();
        create(&machine.place(), &machine.place(), IDENTITY, &names, "2026-11").unwrap();
        write_book(machine.home.path(), packages);
        machine
    }

    pub(crate) fn place(&self) -> Place {
        Place::new(Dir::open_ambient_dir(self.home.path(), ambient_authority()).unwrap(), "home")
    }

    /// The secrets, those of plugins as well.
    pub(crate) fn rings(&self, admitted: &[Admission]) -> Rings {
        let vault = Vault::open(self.place(), &self.place(), IDENTITY).unwrap();
        Rings::open(&vault).unwrap().with_plugins(&vault, admitted).unwrap()
    }

    /// Writes a configuration file: origins that lead elsewhere, and background work that does not wait long.
    pub(crate) fn configure(&self, routes: &BTreeMap<String, String>) {
        let routes: String = routes.iter().map(|(origin, place)| format!("{origin:?} = {place:?}\n")).collect();
        let background = "poll_ms = 50\nattempts_max = 10000\nbackoff_ms = 50\nbackoff_max_ms = 500\n";
        let text = format!("[background]\n{background}[egress.routes]\n{routes}");
        std::fs::write(self.home.path().join(CONFIG), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let admin = self.database.admin();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dinehub"));
        command.args(arguments).current_dir(self.home.path()).env_clear();
        let home = |name: &str| self.home.path().join(name).display().to_string();
        for (name, value) in [
            (
                "DATABASE_URL",
                format!("postgres://{}@{}/{}", admin.user, admin.host.replace('/', "%2F"), admin.database),
            ),
            ("DINEHUB_SECRETS__DIRECTORY", self.home.path().display().to_string()),
            ("DINEHUB_SECRETS__IDENTITY_FILE", home(IDENTITY)),
            ("DINEHUB_PLUGINS__DIRECTORY", self.artefacts.display().to_string()),
            ("DINEHUB_PLUGINS__FILES_DIRECTORY", root().join("plugins").display().to_string()),
            ("DINEHUB_PLUGINS__ROLES_FILE", root().join("plugins/roles.toml").display().to_string()),
            ("DINEHUB_PLUGINS__LOCK_FILE", home("grants.lock")),
            ("DINEHUB_PLUGINS__REVIEWERS_FILE", home("reviewers.toml")),
            ("DINEHUB_HTTP__LISTEN", self.address.to_string()),
            ("DINEHUB_ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        ] {
            command.env(name, value);
        }
        command
    }

    /// Runs a verb to its end: exit code, standard output, standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(stdout), text(stderr));
        // Whatever is printed, no verifier and no key is.
        assert!(!stdout.contains("SCRAM-SHA-256") && !stderr.contains("SCRAM-SHA-256"), "{stdout}{stderr}");
        (status.code(), stdout, stderr)
    }

    /// Starts `serve` with the configuration file, and waits until it is ready.
    pub(crate) fn start(&self) -> Node {
        let mut child = self.command(&["serve", "--config", CONFIG]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("\"ready\"")), "serve ended before it was ready: {:?}", child.wait());
        // A pipe that nobody reads would stop the process when it is full.
        std::thread::spawn(move || lines.for_each(drop));
        Node { child, address: self.address }
    }
}

/// A host process; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap();
    }

    /// Until it has ended by itself, or was killed.
    pub(crate) fn wait(mut self) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the process lives");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
