//! The vault: reads secrets that lie in Git as age files, with the identity that only this machine holds.
//!
//! `secrets/jwt.age` is ciphertext for one or more recipients, binary or armored, readable and writable with Debian's
//! `age`. Plaintext exists in memory only and is wiped there. age authenticates the *content* of a file, not who wrote it:
//! any truncation or changed bit is refused here, a file replaced as a whole is found by the signed manifest.
//!
//! What this module cannot do, on purpose: run age plugins (the feature is off) or try a passphrase (a file for one is
//! refused before any scrypt work, so its work factor cannot cost anything).

use std::{
    fmt,
    io::{self, Read, Write},
};

use age::{Decryptor, Encryptor, IdentityFile, armor::ArmoredReader};
use aws_lc_rs::rand;
use cap_std::fs::{Dir, File, MetadataExt, OpenOptions, OpenOptionsExt};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::ring::{Key, Ring};
use crate::error::{Fault, Setup};

/// No secret is larger; a file that is one is not.
const FILE_BYTES_MAX: u64 = 1 << 20;
const IDENTITY_BYTES_MAX: u64 = 64 << 10;

/// A directory that was opened for us, and what people call it.
#[derive(Debug)]
pub struct Place {
    directory: Dir,
    shown: String,
}

impl Place {
    /// `shown` is the path that messages name.
    #[must_use]
    pub fn new(directory: Dir, shown: impl Into<String>) -> Self {
        Self { directory, shown: shown.into() }
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.shown)
    }

    fn read(&self, file: &str, bytes_max: u64) -> Setup<Zeroizing<Vec<u8>>> {
        let opened = self.directory.open(file).map_err(Fault::at(self.path(file)))?;
        self.drain(file, &opened, bytes_max)
    }

    fn drain(&self, file: &str, opened: &File, bytes_max: u64) -> Setup<Zeroizing<Vec<u8>>> {
        let length = opened.metadata().map_err(Fault::at(self.path(file)))?.len();
        if length > bytes_max {
            return Err(Fault::new(self.path(file), format!("has {length} bytes, may have {bytes_max}")));
        }
        // Room for all of it: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
        opened.take(bytes_max).read_to_end(&mut bytes).map_err(Fault::at(self.path(file)))?;
        Ok(bytes)
    }

    /// Puts a whole file there or nothing, and never over one that is there: written beside, synced, then linked.
    /// Whether it was ours that got the name.
    fn put(&self, file: &str, mode: u32, bytes: &[u8]) -> Setup<bool> {
        let mut salt = [0; 8];
        rand::fill(&mut salt).map_err(Fault::at("random numbers"))?;
        let beside = format!(".{file}.{}", hex::encode(salt));
        let at = || Fault::at::<io::Error>(self.path(file));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut opened = self.directory.open_with(&beside, &options).map_err(at())?;
        let written = opened.write_all(bytes).and_then(|()| opened.sync_all());
        let linked = written.and_then(|()| self.directory.hard_link(&beside, &self.directory, file));
        self.directory.remove_file(&beside).map_err(at())?;
        match linked {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(why) => Err(at()(why)),
        }
    }
}

/// Opens secrets. Holds the identities of this machine and nothing that was decrypted.
pub struct Vault {
    secrets: Place,
    identities: Vec<Box<dyn age::Identity + Send + Sync>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({}, {} identities …)", self.secrets.shown, self.identities.len())
    }
}

impl Vault {
    /// The age files in `secrets`, opened with the identity file `identity` in `home`.
    ///
    /// Refuses an identity file that anybody but its owner may read: what others could copy is no secret.
    pub fn open(secrets: Place, home: &Place, identity: &str) -> Setup<Self> {
        let file = read_identity(home, identity)?;
        let identities = file.into_identities().map_err(Fault::at(home.path(identity)))?;
        if identities.is_empty() {
            return Err(Fault::new(home.path(identity), "holds no identity").fix("age-keygen -o <file>"));
        }
        Ok(Self { secrets, identities })
    }

    /// The ring in `<name>.age`.
    pub fn ring(&self, name: &str) -> Setup<Ring> {
        Ring::read(name, &self.text(name)?)
    }

    /// The plaintext of `<name>.age`, if there is such a file: one that is there and cannot be opened is a fault.
    pub fn find_text(&self, name: &str) -> Setup<Option<SecretString>> {
        if self.secrets.directory.exists(file_of(name)?) { self.text(name).map(Some) } else { Ok(None) }
    }

    /// The plaintext of `<name>.age`: all of it, proved to its last byte, or a fault.
    pub fn text(&self, name: &str) -> Setup<SecretString> {
        let file = file_of(name)?;
        let place = self.secrets.path(&file);
        let ciphertext = self.secrets.read(&file, FILE_BYTES_MAX)?;
        let plaintext = self.decrypt(&ciphertext).map_err(|why| {
            Fault::new(&*place, format!("cannot be opened: {why}"))
                .fix("restore the file from Git, or encrypt it to this machine's recipient as well")
        })?;
        match String::from_utf8(plaintext.to_vec()) {
            Ok(text) => Ok(SecretString::from(text)),
            Err(why) => {
                drop(Zeroizing::new(why.into_bytes()));
                Err(Fault::new(place, "is not text"))
            }
        }
    }

    fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(ciphertext))?;
        if decryptor.is_scrypt() {
            return Err(age::DecryptError::NoMatchingKeys);
        }
        let mut plaintext = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
        let identities = self.identities.iter().map(|identity| &**identity as &dyn age::Identity);
        decryptor.decrypt(identities)?.read_to_end(&mut plaintext)?;
        Ok(plaintext)
    }
}

/// What `dev` does on its first start: an identity for this machine, and for each of `names` a ring of one fresh key.
///
/// Each file appears whole or not at all, none is ever replaced, and a second run finds everything and changes nothing.
/// A secret's plaintext is never written to disk; `version` is the id of its first key.
pub fn create(secrets: &Place, home: &Place, identity: &str, names: &[&str], version: &str) -> Setup<()> {
    if !home.directory.exists(identity) {
        let made = age::x25519::Identity::generate();
        let mut text = Zeroizing::new(String::with_capacity(256));
        for part in ["# public key: ", &made.to_public().to_string(), "\n", made.to_string().expose_secret(), "\n"] {
            text.push_str(part);
        }
        home.put(identity, 0o600, text.as_bytes())?;
    }
    let recipients = read_identity(home, identity)?.to_recipients().map_err(Fault::at(home.path(identity)))?;
    for name in names {
        let file = file_of(name)?;
        if secrets.directory.exists(&file) {
            continue;
        }
        let ring = Ring::of(Key::generate(version)?);
        let ciphertext = encrypt(&recipients, &ring.write()).map_err(|why| Fault::new(secrets.path(&file), why))?;
        secrets.put(&file, 0o644, &ciphertext)?;
    }
    Ok(())
}

fn encrypt(recipients: &[Box<dyn age::Recipient + Send>], plaintext: &SecretString) -> Result<Vec<u8>, String> {
    let recipients = recipients.iter().map(|recipient| &**recipient as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(recipients).map_err(|why| why.to_string())?;
    let mut ciphertext = Vec::new();
    let mut output = encryptor.wrap_output(&mut ciphertext).map_err(|why| why.to_string())?;
    output.write_all(plaintext.expose_secret().as_bytes()).map_err(|why| why.to_string())?;
    output.finish().map_err(|why| why.to_string())?;
    Ok(ciphertext)
}

/// Reads an identity file after proving, on the opened file, that only its owner may read it.
fn read_identity(home: &Place, name: &str) -> Setup<IdentityFile<age::NoCallbacks>> {
    let path = home.path(name);
    let opened = home
        .directory
        .open(name)
        .map_err(|why| Fault::at(&*path)(why).fix(format!("age-keygen -o {path} && chmod 0600 {path}")))?;
    let metadata = opened.metadata().map_err(Fault::at(&*path))?;
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() || !matches!(mode, 0o600 | 0o400) {
        return Err(Fault::new(&*path, format!("has mode {mode:04o}: others could read this machine's identity"))
            .fix(format!("chmod 0600 {path}")));
    }
    let text = home.drain(name, &opened, IDENTITY_BYTES_MAX)?;
    // The message of age names a line and quotes nothing.
    IdentityFile::from_buffer(&text[..]).map_err(Fault::at(path))
}

/// `jwt` → `jwt.age`; a name is no path.
fn file_of(name: &str) -> Setup<String> {
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
        return Err(Fault::new("secret", format!("{name:?} is no name of a secret"))
            .fix("use lower-case letters, digits, `_` and `-`"));
    }
    Ok(format!("{name}.age"))
}
