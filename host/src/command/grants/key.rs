//! `dinehub grants key`: a reviewer's signing key. The private half stays with the reviewer; the line that is printed
//! goes into `plugins/reviewers.toml`, by a change that another reviewer sees.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    error::{Fault, Setup},
    plugin::approval::SigningKey,
};

/// `dinehub grants key`
#[derive(Clone, Debug, Args)]
pub struct Key {
    /// The reviewer's name in reviewers.toml.
    pub reviewer: String,
    /// Where the private key goes: a new file, mode 0600. Keep it off this repository.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Makes the key.
pub fn run(key: &Key) -> Setup<()> {
    let place = key.out.display().to_string();
    let (signing, text) = SigningKey::fresh()?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key.out);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Fault::at(&place))?;
    println!("# for plugins/reviewers.toml\n[reviewer.{}]\nkey = \"{}\"", key.reviewer, signing.public().key);
    Ok(())
}

/// Reads a private key that nobody else can read.
pub fn read(path: &Path) -> Setup<SigningKey> {
    let place = path.display().to_string();
    let mode = fs::metadata(path).map_err(Fault::at(&place))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Fault::new(&place, "can be read by others").fix(format!("chmod 600 {place}")));
    }
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(Fault::at(&place))?);
    SigningKey::parse(&place, &text)
}
