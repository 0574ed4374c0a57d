//! Tokens and vault files: whatever was not made with the key proves nothing.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    identity::token::{Kind, Tokens},
    secret::{
        ring::{Key, Ring},
        vault::{self, Place, Vault},
    },
};
use secrecy::SecretString;
use tempfile::TempDir;

const KEY: [u8; 32] = [9; 32];
const NOW_S: u64 = 1_800_000_000;

fn tokens() -> &'static Tokens {
    static TOKENS: OnceLock<Tokens> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let ring = Ring::of(Key::new("2026-11", KEY.to_vec()).expect("a key"));
        Tokens::new(&ring, "dinehub", "dinehub", 3_600).expect("tokens")
    })
}

/// First as it is, then with header and claims that are signed, so that they are read.
pub(crate) fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(tokens().verify(text, Kind::Access, NOW_S).is_err(), "nobody signed {text}");
    let (head, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256","typ":"JWT","kid":"2026-11"}"#, text));
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if let Ok(verified) = tokens().verify(&token, Kind::Access, NOW_S) {
        assert!(verified.expires_s > NOW_S, "{claims}");
        assert!(tokens().verify(&token, Kind::MfaPending, NOW_S).is_err(), "one kind is never another");
    }
}

fn home() -> &'static (TempDir, Vault) {
    static HOME: OnceLock<(TempDir, Vault)> = OnceLock::new();
    HOME.get_or_init(|| {
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a directory");
        let place =
            || Place::new(Dir::open_ambient_dir(directory.path(), ambient_authority()).expect("opened"), "fuzz");
        vault::create(&place(), &place(), "identity.txt", &[], "2026-11").expect("an identity");
        let vault = Vault::open(place(), &place(), "identity.txt").expect("a vault");
        (directory, vault)
    })
}

pub(crate) fn vault(data: &[u8]) {
    let (directory, vault) = home();
    // Armour and header of age, and what stands inside a file.
    std::fs::write(directory.path().join("fuzz.age"), data).expect("a file");
    assert!(vault.text("fuzz").is_err(), "nobody encrypted this");
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ring) = Ring::read("fuzz", &SecretString::from(text)) {
        let again = Ring::read("fuzz", &ring.write()).expect("a ring that was read can be written");
        assert_eq!(again.current.id(), ring.current.id());
    }
}
