//! An operator's machine: the real binary, an empty database, age files, a lock and artefacts on disk.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    command::start::SECRETS,
    plugin::package::Package,
    secret::vault::{Place, create},
};
use harness::{
    client::Client,
    database::Database,
    server::{artefacts, features, root, write_book},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub(crate) const IDENTITY: &str = "identity.txt";

/// An operator's machine.
pub(crate) struct Machine {
    pub(crate) database: Database,
    pub(crate) home: tempfile::TempDir,
    pub(crate) artefacts: PathBuf,
}

impl Machine {
    /// With the feature plugins.
    pub(crate) async fn new() -> Self {
        Self { artefacts: artefacts().await, ..Self::with(features().await).await }
    }

    /// With these artefacts, approved, in a directory of its own.
    pub(crate) async fn with(packages: Vec<Package>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let place = || Place::new(Dir::open_ambient_dir(home.path(), ambient_authority()).unwrap(), "home");
        create(&place(), &place(), IDENTITY, &SECRETS, "2026-11").unwrap();
        let artefacts = home.path().join("artefacts");
        std::fs::create_dir(&artefacts).unwrap();
        for package in &packages {
            std::fs::write(artefacts.join(format!("{}.wasm", package.digest)), &package.bytes).unwrap();
        }
        write_book(home.path(), packages);
        Self { database: Database::fresh().await, home, artefacts }
    }

    /// A file of this machine.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let admin = self.database.admin();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dinehub"));
        command.args(arguments).current_dir(self.home.path()).env_clear();
        for (name, value) in [
            (
                "DATABASE_URL",
                format!("postgres://{}@{}/{}", admin.user, admin.host.replace('/', "%2F"), admin.database),
            ),
            ("DINEHUB_SECRETS__DIRECTORY", self.home.path().display().to_string()),
            ("DINEHUB_SECRETS__IDENTITY_FILE", self.home.path().join(IDENTITY).display().to_string()),
            ("DINEHUB_PLUGINS__DIRECTORY", self.artefacts.display().to_string()),
            ("DINEHUB_PLUGINS__ROLES_FILE", root().join("plugins/roles.toml").display().to_string()),
            ("DINEHUB_PLUGINS__LOCK_FILE", self.home.path().join("grants.lock").display().to_string()),
            ("DINEHUB_PLUGINS__REVIEWERS_FILE", self.home.path().join("reviewers.toml").display().to_string()),
            ("DINEHUB_PLUGINS__STATE_DIRECTORY", self.home.path().join("state").display().to_string()),
            ("DINEHUB_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
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

    /// Starts `serve` on a port of its own, for as long as what it gives is kept.
    pub(crate) fn serve(&self) -> Serving {
        // The kernel gives a free port, and the next one to ask gets it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = self.command(&["serve"]);
        let mut child = command.env("DINEHUB_HTTP__LISTEN", free.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line.contains("\"ready\""));
        // Its log is read on, or it would stop when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let serving = Serving { child, client: Client::new(free, None) };
        assert!(is_ready, "serve ended before it was ready");
        serving
    }

    /// Starts `serve` and waits until it is ready; then it is told to stop.
    pub(crate) fn serves(&self) {
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = ready.into_iter().any(|line| line.contains("\"ready\""));
        let stopped = stop(&mut child);
        assert!(is_ready, "serve ended before it was ready: {stopped:?}");
    }

    /// `serve` refuses, and says why. One that serves instead is stopped.
    pub(crate) fn refuses(&self, said: &str) {
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = lines.into_iter().any(|line| line.contains("\"ready\""));
        if is_ready {
            stop(&mut child);
        }
        assert!(!is_ready, "it serves: {said}");
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

/// A running `serve`. Told to stop when dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) client: Client,
}

impl Serving {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

pub(crate) fn stop(child: &mut Child) -> std::process::ExitStatus {
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
    child.wait().unwrap()
}
