//! A private PostgreSQL from the installed binaries: one directory, one Unix socket, no TCP.
//!
//! `dev` and the tests use it; `serve` never does. The superuser logs in over the socket only, vouched for by the kernel
//! (`peer`); every other role needs its password. As root the server runs as the `postgres` user, because `initdb`
//! refuses root. The server has a process group of its own, so that Ctrl-C reaches the host first and it can drain.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::unistd::{Gid, Uid, User};

use super::target::Target;
use crate::error::{Fault, Setup};

/// Where Debian, Fedora, Homebrew and NixOS put the server's programs.
const WELL_KNOWN: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql", "/run/current-system/sw/bin"];
/// A Unix socket's path may be 107 bytes long; PostgreSQL appends `/.s.PGSQL.5432.lock`.
const SOCKET_PATH_BYTES_MAX: usize = 85;

/// How long a server may take to end, in seconds.
const STOP_S: &str = "10";

/// A server that is running below one directory.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    place: PathBuf,
    user: Option<User>,
}

impl Cluster {
    /// Starts the cluster below `place`, creating it the first time and adopting one that a killed host left running.
    /// `settings` are `postgresql.conf` lines, used when it is created. The caller holds a lock on `place`.
    pub fn start(place: &Path, settings: &[&str]) -> Setup<Self> {
        if place.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(Fault::new(place.display().to_string(), "is too long a path for a Unix socket")
                .fix(format!("choose a directory of at most {SOCKET_PATH_BYTES_MAX} bytes")));
        }
        let cluster = Self { programs: find_programs()?, place: place.to_owned(), user: server_user()? };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.create(settings)?;
        }
        if !cluster.is_running()? {
            cluster.launch()?;
        }
        Ok(cluster)
    }

    /// The superuser, by the kernel's word.
    #[must_use]
    pub fn admin(&self, database: &str) -> Target {
        Target::socket(&self.place, database, "postgres")
    }

    /// Whether the server answers.
    pub fn is_running(&self) -> Setup<bool> {
        let status = self.run("pg_ctl", &["status", "-D", &text(&self.data())])?;
        Ok(status.status.success())
    }

    /// Ends the server: sessions are cut, nothing acknowledged is lost. A session that does not end when it is told to is
    /// ended with the server after ten seconds; the next start then recovers from the log, as after a crash.
    pub fn stop(&self) -> Setup<()> {
        let data = text(&self.data());
        let stop = |mode: &str| self.must("pg_ctl", &["stop", "-w", "-t", STOP_S, "-m", mode, "-D", &data]);
        match stop("fast") {
            Err(_) if self.is_running()? => stop("immediate"),
            stopped => stopped,
        }
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.place.join("postgresql.log")
    }

    fn data(&self) -> PathBuf {
        self.place.join("data")
    }

    fn create(&self, settings: &[&str]) -> Setup<()> {
        let at = |path: &Path| Fault::at::<std::io::Error>(path.display().to_string());
        fs::create_dir_all(&self.place).map_err(at(&self.place))?;
        if let Some(user) = &self.user {
            nix::unistd::chown(&self.place, Some(user.uid), Some(user.gid))
                .map_err(Fault::at(self.place.display().to_string()))?;
        }
        fs::set_permissions(&self.place, fs::Permissions::from_mode(0o755)).map_err(at(&self.place))?;
        let data = self.data();
        if data.exists() {
            // An initdb that was cut short leaves no PG_VERSION, so there is no database to lose.
            fs::remove_dir_all(&data).map_err(at(&data))?;
        }
        self.must(
            "initdb",
            &[
                "-D",
                &text(&data),
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                "--auth-local=peer",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ],
        )?;
        let write = |name: &str, lines: String| {
            let path = data.join(name);
            fs::write(&path, lines).map_err(at(&path))
        };
        write("pg_hba.conf", "local all postgres peer map=dinehub\nlocal all all scram-sha-256\n".to_owned())?;
        let mut map = String::from("dinehub postgres postgres\n");
        if let Ok(Some(me)) = User::from_uid(Uid::effective()) {
            map.push_str(&format!("dinehub {} postgres\n", me.name));
        }
        write("pg_ident.conf", map)?;
        let path = data.join("postgresql.conf");
        let mut conf = fs::read_to_string(&path).map_err(at(&path))?;
        conf.push_str(&format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 200\n{}\n",
            self.place.display(),
            settings.join("\n"),
        ));
        fs::write(&path, conf).map_err(at(&path))
    }

    fn launch(&self) -> Setup<()> {
        let log = text(&self.log());
        let started = self.must("pg_ctl", &["start", "-w", "-t", "30", "-D", &text(&self.data()), "-l", &log]);
        started.map_err(|fault| fault.fix(format!("read {log}")))
    }

    fn must(&self, program: &str, arguments: &[&str]) -> Setup<()> {
        let output = self.run(program, arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Fault::new(program, format!("{}: {said}", output.status)))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Setup<Output> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir("/").process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        // `pg_ctl start` hands its own output on to the server: a pipe would never close.
        if program == "pg_ctl" {
            command.stdout(std::process::Stdio::null());
        }
        command.stdin(std::process::Stdio::null());
        command.output().map_err(Fault::at(self.programs.join(program).display().to_string()))
    }
}

/// The user that runs the server: nobody else than we, unless we are root.
fn server_user() -> Setup<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    match User::from_name("postgres") {
        Ok(Some(user)) if user.gid != Gid::from_raw(0) => Ok(Some(user)),
        _ => Err(Fault::new("user `postgres`", "does not exist, and PostgreSQL refuses to run as root")
            .fix("apt-get install postgresql   (it makes the user), or run as an ordinary user")),
    }
}

/// The directory with `initdb`, `pg_ctl` and `postgres`.
fn find_programs() -> Setup<PathBuf> {
    let told = Command::new("pg_config").arg("--bindir").output().ok().filter(|o| o.status.success());
    let told = told.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim().to_owned()));
    let mut candidates: Vec<PathBuf> = told.into_iter().collect();
    for root in WELL_KNOWN {
        candidates.push(root.into());
        let mut versions: Vec<PathBuf> =
            fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        candidates.extend(versions.into_iter().rev());
    }
    candidates
        .into_iter()
        .find(|directory| directory.join("initdb").exists() && directory.join("postgres").exists())
        .ok_or_else(|| {
            Fault::new("PostgreSQL", "no `initdb` found by pg_config or in the usual places")
                .fix("apt-get install postgresql   (Debian, Ubuntu), or set PATH so that `pg_config` is found")
        })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
