//! The vault: what is damaged, foreign or readable by others is refused whole; Debian's `age` reads and writes the same.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    error::{Fault, Setup},
    secret::vault::{Place, Vault, create},
};
use secrecy::ExposeSecret;

const IDENTITY: &str = "identity.txt";

/// A directory with an identity and secrets, removed with it.
struct Home(PathBuf);

impl Home {
    fn empty() -> Self {
        let path = std::env::temp_dir().join(format!("dinehub-vault-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(path.join("secrets")).unwrap();
        Self(path)
    }

    fn made() -> Self {
        let home = Self::empty();
        home.create().unwrap();
        home
    }

    fn place(&self, below: &str) -> Place {
        let path = if below.is_empty() { self.0.clone() } else { self.0.join(below) };
        Place::new(Dir::open_ambient_dir(&path, ambient_authority()).unwrap(), path.display().to_string())
    }

    fn create(&self) -> Setup<()> {
        create(&self.place("secrets"), &self.place(""), IDENTITY, &["jwt", "database", "cursor"], "2026-11")
    }

    fn open(&self) -> Setup<Vault> {
        Vault::open(self.place("secrets"), &self.place(""), IDENTITY)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.file(&format!("secrets/{name}.age")), bytes).unwrap();
    }

    fn recipient(&self) -> String {
        let said = run("age-keygen", &["-y", &self.file(IDENTITY).display().to_string()]);
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs one of Debian's programs.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|why| panic!("{program}: {why}; install it: apt-get install age"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn fault<T>(answer: Setup<T>) -> String {
    answer.map(|_| ()).map_err(|fault: Fault| fault.to_string()).unwrap_err()
}

#[test]
fn an_identity_that_others_could_read_is_refused_with_the_command() {
    let home = Home::made();
    let path = home.file(IDENTITY);
    for mode in [0o644, 0o640, 0o660, 0o604, 0o700, 0o4600, 0o000] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let fault = fault(home.open());
        assert!(fault.contains(&format!("fix: chmod 0600 {}", path.display())), "{mode:o}: {fault}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(home.open().is_ok(), "{mode:o}");
    }
}

#[test]
fn without_the_right_identity_nothing_opens() {
    let (home, other) = (Home::made(), Home::made());
    fs::copy(other.file(IDENTITY), home.file(IDENTITY)).unwrap();
    assert!(fault(home.open().unwrap().ring("jwt")).contains("jwt.age"));
    fs::remove_file(home.file(IDENTITY)).unwrap();
    assert!(fault(home.open()).contains("age-keygen"));
    for text in ["", "# nothing\n", "AGE-SECRET-KEY-1NOT\n", "AGE-PLUGIN-YUBIKEY-1QQQQ\n", "secret words\n"] {
        fs::write(home.file(IDENTITY), text).unwrap();
        fs::set_permissions(home.file(IDENTITY), fs::Permissions::from_mode(0o600)).unwrap();
        let fault = fault(home.open());
        assert!(!fault.contains("secret words"), "{fault}");
    }
}

#[test]
fn a_cut_file_is_refused_at_every_byte() {
    let home = Home::made();
    let whole = fs::read(home.file("secrets/jwt.age")).unwrap();
    let vault = home.open().unwrap();
    for length in 0..whole.len() {
        home.put("jwt", &whole[..length]);
        assert!(vault.text("jwt").is_err(), "cut at {length} of {}", whole.len());
    }
    home.put("jwt", [&whole[..], b"x"].concat());
    assert!(vault.text("jwt").is_err(), "a byte too many");
    home.put("jwt", &whole);
    assert!(vault.ring("jwt").is_ok());
}

#[test]
fn a_changed_bit_is_refused_at_every_byte() {
    let home = Home::made();
    let whole = fs::read(home.file("secrets/jwt.age")).unwrap();
    let vault = home.open().unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        home.put("jwt", &changed);
        assert!(vault.text("jwt").is_err(), "byte {at} of {}", whole.len());
    }
}

#[test]
fn a_name_is_no_path() {
    let home = Home::made();
    let vault = home.open().unwrap();
    for name in ["", "../identity", "a/b", "jwt.age", "JWT", "/etc/passwd", "a\0b", &"a".repeat(65)] {
        assert!(vault.text(name).is_err(), "{name:?}");
    }
    std::os::unix::fs::symlink("/etc/hostname", home.file("secrets/escape.age")).unwrap();
    assert!(vault.text("escape").is_err(), "a link out of the directory");
}

#[test]
fn a_file_for_a_passphrase_is_refused_before_any_work() {
    let home = Home::made();
    let stanza = "age-encryption.org/v1\n-> scrypt cmFuZG9tc2FsdHNhbHRzYQ 62\n\
                  gyGaYyKNBIXFmVXLGPXV5yjVsdTBLDyMdCsWQkmS3F8\n--- \
                  bzKq8gQ6aGZBEbBzxPiC0wDVRVRJPZ4nEj0bAAAAAAA\n";
    home.put("jwt", [stanza.as_bytes(), &[7; 64]].concat());
    assert!(home.open().unwrap().text("jwt").is_err(), "2^62 rounds were not done");
}

#[test]
fn creating_again_changes_nothing() {
    let home = Home::made();
    let read =
        || ["identity.txt", "secrets/jwt.age", "secrets/cursor.age"].map(|name| fs::read(home.file(name)).unwrap());
    let before = read();
    home.create().unwrap();
    assert_eq!(before, read());
    fs::remove_file(home.file("secrets/cursor.age")).unwrap();
    home.create().unwrap();
    assert_eq!(before[..2], read()[..2], "only what is missing is made");
    let mode = fs::metadata(home.file(IDENTITY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let names = |below: &str| fs::read_dir(home.file(below)).unwrap().count();
    assert_eq!((names("."), names("secrets")), (2, 3), "nothing is left beside them");
}

#[test]
fn two_that_create_at_once_agree() {
    let home = Home::empty();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| home.create().unwrap());
        }
    });
    let vault = home.open().unwrap();
    for name in ["jwt", "database", "cursor"] {
        vault.ring(name).unwrap();
    }
}

#[test]
fn no_plaintext_is_on_disk_or_in_debug() {
    let home = Home::made();
    let vault = home.open().unwrap();
    let text = vault.text("jwt").unwrap();
    let key = text.expose_secret().split('"').find(|part| part.len() == 44).unwrap().to_owned();
    assert!(!format!("{vault:?} {:?} {text:?}", vault.ring("jwt").unwrap()).contains(&key));
    for name in ["secrets/jwt.age", "secrets/database.age", IDENTITY] {
        let bytes = fs::read(home.file(name)).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{name}");
    }
}

#[test]
fn what_debians_age_writes_is_read_here() {
    let home = Home::made();
    let recipient = home.recipient();
    let plain = home.file("plain.toml");
    let key = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
    fs::write(&plain, format!("[[version]]\nid = \"2027-01\"\nkey = \"{key}\"\nstate = \"current\"\n")).unwrap();
    let vault = home.open().unwrap();
    for (name, armor) in [("binary", None), ("armored", Some("-a"))] {
        let target = home.file(&format!("secrets/{name}.age")).display().to_string();
        let plain = plain.display().to_string();
        let arguments: Vec<&str> = armor.into_iter().chain(["-r", &recipient, "-o", &target, &plain]).collect();
        run("age", &arguments);
        assert_eq!(vault.ring(name).unwrap().current.id(), "2027-01", "{name}");
    }
}

#[test]
fn what_is_written_here_is_read_by_debians_age() {
    let home = Home::made();
    let (identity, secret) = (home.file(IDENTITY), home.file("secrets/jwt.age"));
    let said = run("age", &["-d", "-i", &identity.display().to_string(), &secret.display().to_string()]);
    let vault = home.open().unwrap();
    assert_eq!(said.stdout, vault.text("jwt").unwrap().expose_secret().as_bytes());
}
